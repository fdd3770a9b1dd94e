"""BEVT's fine-tuning recipes say what the released code says, step at full size, and run when they are shrunk."""
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

import ssvideo.models  # noqa: F401
from ssvideo.engine.launch import build_runner
from ssvideo.registry import MODELS
from ssvideo.structures import Clips

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import video_files as files  # noqa: E402

ROOT = Path(__file__).parents[2]
# classes, views in testing
SETS = dict(k400=(400, 12), ssv2=(174, 3), diving48=(48, 3))


def recipe(name: str) -> Config:
    return Config.fromfile(ROOT / f'configs/finetune/bevt_swin_b_{name}.py')


def types(loader: Config) -> list[str]:
    return [step.type.removeprefix('ssvideo.') for step in loader.dataset.pipeline[2:-2]]


# ------------------------------------------------------------------------------------------------------------ numbers

@pytest.mark.parametrize('name', SETS)
def test_finetuning__has_the_numbers_of_paper_and_code(name):
    config = recipe(name)
    num_classes, num_views = SETS[name]
    assert (config.model.num_classes, config.model.dropout) == (num_classes, 0.5)
    assert config.model.backbone.init_cfg == dict(
        type='Pretrained', checkpoint='work_dirs/bevt_swin_b/epoch_150.pth', prefix='backbone.')
    assert (config.train_cfg.max_epochs, config.global_batch, 8 * config.train_dataloader.batch_size) == (60, 64, 64)
    warm_up, decay = config.param_scheduler
    assert (warm_up.end, decay.begin, decay.end, decay.eta_min) == (2.5, 2.5, 60, 0)
    train, test = config.train_dataloader.dataset, config.test_dataloader.dataset
    for dataset in (train, test, config.val_dataloader.dataset):
        assert dataset.pipeline[0].clip_len == 32 and dataset.data_root.startswith(f'data/{dataset.source.split("/")[1]}/')
    assert test.pipeline[2].scale == (-1, 224) and test.pipeline[3] == dict(type='ThreeCrop', crop_size=224)
    assert test.pipeline[0].get('num_clips', 1) * 3 == num_views
    assert all(dataset.pipeline[0].test_mode and dataset.test_mode for dataset in (test, config.val_dataloader.dataset))
    assert types(config.train_dataloader)[:3] == ['Resize', 'RandomResizedCrop', 'Resize']


def test_finetuning__on_kinetics_400():
    config = recipe('k400')
    assert (config.model.backbone.window_size, config.model.backbone.drop_path_rate) == ((8, 7, 7), 0.3)
    assert config.train_dataloader.dataset.pipeline[0].frame_interval == 2
    assert types(config.train_dataloader)[3:] == ['Flip']
    wrapper = config.optim_wrapper
    assert wrapper.optimizer == dict(type='AdamW', lr=3e-4, betas=(0.9, 0.999), weight_decay=1e-3)
    assert wrapper.clip_grad.max_norm == 40 and wrapper.paramwise_cfg.layer_decay == 0.9
    assert 'label_smoothing' not in config.model
    assert config.custom_hooks == [], 'no average of the weights'


@pytest.mark.parametrize('name', ['ssv2', 'diving48'])
def test_finetuning__on_ssv2_and_diving48(name):
    config = recipe(name)
    assert (config.model.backbone.window_size, config.model.backbone.drop_path_rate) == ((16, 7, 7), 0.4)
    assert config.model.label_smoothing == 0.1
    assert config.train_dataloader.dataset.pipeline[0].strategy == 'segments'
    assert types(config.train_dataloader)[3:] == ['RandomClipAugment', 'RandomClipErasing'], 'and no flip'
    augment, erase = config.train_dataloader.dataset.pipeline[5:7]
    assert (augment.num_ops, augment.magnitude, erase.probability) == (4, 7, 0.25)
    wrapper = config.optim_wrapper
    assert wrapper.optimizer == dict(type='AdamW', lr=5e-4, betas=(0.9, 0.999), weight_decay=0.05)
    assert wrapper.paramwise_cfg.custom_keys.backbone == dict(lr_mult=0.1) and 'clip_grad' not in wrapper
    assert config.custom_hooks[-1] == dict(type='EMAHook', momentum=pytest.approx(1 - 0.9998))


@pytest.mark.parametrize('name', SETS)
def test_finetuning__full_size_steps_and_predicts_from_its_views(name, monkeypatch):
    monkeypatch.setattr(torch, 'autocast', lambda *args, **kwargs: nullcontext())  # it does not know the meta device
    num_classes, num_views = SETS[name]
    with torch.device('meta'):
        model = MODELS.build(recipe(name).model)
        clips = Clips(pixels=torch.zeros(2, 3, 32, 224, 224))
        views = Clips(pixels=torch.zeros(num_views, 3, 32, 224, 224), num_views=num_views)
    encoder = sum(p.numel() for n, p in model.backbone.named_parameters() if not n.startswith(model.backbone.pretraining_only))
    tables = sum(p.numel() for n, p in model.backbone.named_parameters() if n.endswith('bias_table'))
    deeper = tables * (1 - 15 / 31) if name != 'k400' else 0  # windows of 16 frames have 31 distances in time, those of 8 have 15
    assert (encoder - deeper) / 1e6 == pytest.approx(87.64, abs=0.006)
    samples = [ActionDataSample().set_gt_label(label) for label in (0, num_classes - 1)]
    model.parse_losses(model(clips, samples, mode='loss'))[0].backward()
    assert not [n for n, parameter in model.named_parameters() if parameter.requires_grad and parameter.grad is None]
    with torch.no_grad():
        (predicted,) = model.eval()(views, samples[:1], mode='predict')
    assert predicted.pred_score.shape == (num_classes,)


# --------------------------------------------------------------------------------------------------------------- runs

class Witness(Hook):
    """Notes the trained weights, and those that are validated."""

    priority = 'LOWEST'

    def before_train(self, runner) -> None:
        self.trained, self.validated, self.rates = [], [], [group['lr'] for group in runner.optim_wrapper.param_groups]

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.trained.append(runner.model.fc.weight.detach().clone())

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.validated.append(runner.model.fc.weight.detach().clone())


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    """A list of four videos of two classes."""
    root = tmp_path_factory.mktemp('videos')
    for i in range(4):
        files.write_video(root / f'{i}.mp4', num_frames=10 + i, size=(48, 40))
    (root / 'list.txt').write_text(''.join(f'{i}.mp4 {i % 2}\n' for i in range(4)))
    return root


def small(name: str, videos: Path, work_dir: Path) -> Config:
    """A recipe with a small model on clips of 4 frames of 32 pixels: 4 videos a step, in parts of 2; two epochs."""
    config = recipe(name)
    config.work_dir, config.launcher, config.log_level = str(work_dir), 'none', 'ERROR'
    config.experiment_name = f'{work_dir.parent.name}_{work_dir.name}'
    config.visualizer = None
    config.model.num_classes = 2
    config.model.backbone.update(embed_dims=8, depths=(1, 1), num_heads=(1, 2), init_cfg=None, drop_path_rate=0.0)
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False, batch_size=min(loader.batch_size, 2))
        loader.dataset.update(source=str(videos / 'list.txt'), data_root=str(videos))
        sample = loader.dataset.pipeline[0]
        sample.clip_len = 4
        for step in loader.dataset.pipeline:
            step.update({key: tuple(32 if side > 0 else side for side in step[key]) for key in ('scale',) if key in step})
            step.update({key: 32 for key in ('crop_size',) if key in step})
    config.global_batch = 4
    config.train_cfg.update(max_epochs=2, val_interval=1)
    config.param_scheduler = None
    config.default_hooks.checkpoint.interval = 1
    return config


def train(config: Config) -> tuple[Runner, Witness]:
    DefaultScope._instance_dict.clear()
    runner, witness = build_runner(config), Witness()
    runner.register_hook(witness)
    runner.train()
    return runner, witness


def test_finetuning__average_of_the_weights_is_validated_saved_and_resumed(videos, tmp_path):
    config = small('ssv2', videos, tmp_path / 'whole')
    config.custom_hooks[0].momentum = 0.25
    runner, seen = train(config)
    assert len(seen.trained) == 4 and runner.optim_wrapper._accumulative_counts == 2
    assert torch.equal(seen.trained[1], seen.trained[2]), 'the second step has two parts'
    assert not torch.equal(seen.trained[0], seen.trained[1])
    average = torch.lerp(seen.trained[0], seen.trained[2], 0.25)  # a step is taken in at the first part that follows it
    assert torch.equal(seen.validated[0], seen.trained[0])
    assert torch.allclose(seen.validated[-1], average, atol=1e-7)
    assert not torch.allclose(average, seen.trained[3], atol=1e-5)
    saved = torch.load(tmp_path / 'whole/epoch_2.pth', weights_only=True)
    assert torch.allclose(saved['state_dict']['fc.weight'], average, atol=1e-7)
    assert torch.equal(saved['ema_state_dict']['module.fc.weight'], seen.trained[3]), 'what training goes on with'

    resumed = small('ssv2', videos, tmp_path / 'resumed')
    resumed.custom_hooks[0].momentum = 0.25
    resumed.update(resume=True, load_from=str(tmp_path / 'whole/epoch_1.pth'))
    _, again = train(resumed)
    assert len(again.trained) == 2
    assert torch.equal(again.trained[0], seen.trained[2]) and torch.allclose(again.validated[-1], average, atol=1e-7)

    tested = small('ssv2', videos, tmp_path / 'tested')
    tested.load_from = str(tmp_path / 'whole/epoch_2.pth')
    tester = build_runner(tested, train=False)
    assert {'acc/top1', 'acc/top5', 'acc/mean1'} <= set(tester.test())
    assert torch.allclose(tester.model.fc.weight, average, atol=1e-7)


def test_finetuning__layers_learn_at_their_rates_and_clips_and_crops_are_views(videos, tmp_path):
    runner, seen = train(small('k400', videos, tmp_path / 'run'))
    expected = {3e-4 * 0.9**exponent for exponent in range(5)}  # patches, a block, the merging, a block; the classifier
    assert {round(rate, 12) for rate in seen.rates} == {round(rate, 12) for rate in expected}
    batch = next(iter(runner.build_dataloader(runner.cfg.test_dataloader)))
    assert batch['inputs'][0].shape == (12, 3, 4, 32, 32)
    assert 'acc/top1' in runner.test()


def test_finetuning__refuses_a_batch_that_it_cannot_accumulate_but_not_for_testing(videos, tmp_path):
    config = small('k400', videos, tmp_path / 'run')
    config.train_dataloader.batch_size = 3
    with pytest.raises(ValueError, match='does not divide global_batch=4.*can take batches of 1, 2, 4'):
        build_runner(config)
    build_runner(config, train=False)
