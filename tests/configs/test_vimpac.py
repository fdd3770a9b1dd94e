"""VIMPAC's recipes say what the paper says, and step at full size on the meta device."""
import inspect
import re
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from mmaction.structures import ActionDataSample
from mmengine.config import Config

import ssvideo.models  # noqa: F401
from ssvideo.datasets.token_clips import TokenClips
from ssvideo.models.maskers import BlockMasker
from ssvideo.registry import MODELS
from ssvideo.structures import Clips

ROOT = Path(__file__).parents[2]
PRETRAINING = ('vimpac_small', 'vimpac_base', 'vimpac_large_128', 'vimpac_large_256')
MILLIONS = dict(small=29.44, base=119.75, large=210.11)  # at 5 x 16 x 16 tokens
# classes, frames a second, epochs, epochs from scratch, spatial crops in testing
SETS = dict(ssv2=(174, 4, 22, 33, 1), diving48=(48, 4, 50, 200, 3), ucf101=(101, 2, 50, 200, 3), hmdb51=(51, 4, 50, 200, 3),
            k400=(400, 2, 30, 45, 3))
FINETUNING = [(size, name, twin) for size in ('large', 'small') for name in SETS for twin in ('', '_scratch')]


def recipe(name: str) -> Config:
    return Config.fromfile(ROOT / 'configs' / f'{name}.py')


@pytest.fixture
def meta(monkeypatch):
    """Builds a model without memory for its weights; autocast does not know that device."""
    monkeypatch.setattr(torch, 'autocast', lambda *args, **kwargs: nullcontext())

    def build(model):
        with torch.device('meta'):
            return MODELS.build(model)

    return build


def meta_clips(grid: tuple[int, int, int]) -> Clips:
    """Two clips of each of two videos."""
    return Clips(tokens=torch.zeros((4, *grid), dtype=torch.long, device='meta'), num_views=2)


def check_step(model, losses: dict) -> None:
    model.parse_losses(losses)[0].backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.requires_grad and parameter.grad is None]


# ------------------------------------------------------------------------------------------------------- pre-training

@pytest.mark.parametrize('name', PRETRAINING)
def test_vimpac__full_size_pretraining_steps_with_the_published_size(name, meta):
    config = recipe(name)
    model = meta(config.model)
    grid = config.model.backbone.grid
    more_positions = (sum(grid) - 5 - 16 - 16) * config.model.backbone.embed_dims
    millions = (sum(parameter.numel() for parameter in model.backbone.parameters()) - more_positions) / 1e6
    assert millions == pytest.approx(MILLIONS[name.split('_')[1]], abs=0.006)
    losses = model(dict(video=meta_clips(grid)), mode='loss')
    assert {'video_mlm_loss', 'video_nce_loss'} <= set(losses)
    check_step(model, losses)


@pytest.mark.parametrize('name', PRETRAINING)
def test_vimpac__each_number_of_processes_makes_whole_contrasts_of_1024_pairs(name):
    config, text = recipe(name), (ROOT / f'configs/{name}.py').read_text()
    table = [tuple(map(int, row)) for row in re.findall(r'^# +(\d+) +(\d+) +(\d+)$', text, re.M)]
    assert [processes for processes, *_ in table] == [8, 32, 64]
    num_pairs = config.model.objectives.nce.num_pairs
    assert num_pairs == (256 if name == 'vimpac_large_128' else 128)
    for processes, batch_size, parts in table:
        assert processes * batch_size * parts == 1024
        compared, rest = divmod(num_pairs, processes * batch_size)
        assert compared and not rest and parts % compared == 0
    said = config.train_dataloader.video.batch_size, config.optim_wrapper.accumulative_counts
    assert said in [row[1:] for row in table if row[0] == (64 if 'large' in name else 8)]


@pytest.mark.parametrize(('name', 'epochs', 'lr', 'warm_up', 'total'), [
    ('vimpac_small', 10, 1e-3, 1, 10), ('vimpac_base', 10, 1e-3, 1, 10), ('vimpac_large_128', 90, 3e-4, 5, 100),
    ('vimpac_large_256', 100, 3e-4, 5, 100)])
def test_vimpac__pretraining_has_the_schedule_of_table_11(name, epochs, lr, warm_up, total):
    config = recipe(name)
    assert config.train_cfg == dict(type='ssvideo.StreamTrainLoop', max_epochs=epochs)
    optimizer = config.optim_wrapper.optimizer
    assert optimizer == dict(type='AdamW', lr=lr, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.05)
    assert config.optim_wrapper.clip_grad.max_norm == 1
    rise, fall = config.param_scheduler
    assert (rise.begin, rise.end) == (0, pytest.approx(warm_up)) and (fall.begin, fall.end) == (rise.end, total)
    assert fall.end_factor == 0


@pytest.mark.parametrize('name', PRETRAINING)
def test_vimpac__the_pretraining_set_is_one_word(name, monkeypatch):
    size = 256 if '256' in name else 128
    assert recipe(name).train_dataloader.video.dataset.store == f'data/howto100m/tokens_{size}'
    monkeypatch.setenv('PRETRAIN_SET', 'kinetics700')
    assert recipe(name).train_dataloader.video.dataset.store == f'data/kinetics700/tokens_{size}'
    assert recipe('tokenizers/tokens_vimpac_128').dataset.source == 'data/kinetics700/train.txt'


def test_vimpac__stage_2_goes_on_where_stage_1_ends():
    first, second = recipe('vimpac_large_128'), recipe('vimpac_large_256')
    assert second.resume and second.load_from == f'work_dirs/vimpac_large_128/epoch_{first.max_epochs}.pth'
    assert 'ssvideo.NextStageHook' in [hook.type for hook in second.custom_hooks]
    assert first.param_scheduler == second.param_scheduler
    for config in (first, second):
        config.model.backbone.pop('grid')
        config.model.maskers.video.pop('num_blocks')
        config.model.objectives.nce.pop('num_pairs')
    assert first.model == second.model, 'the stages differ in the grid, the number of blocks and n'


@pytest.mark.parametrize(('name', 'blocks'), [('vimpac_large_128', 5), ('vimpac_large_256', 6), ('vimpac_small', 5)])
def test_vimpac__blocks_are_those_of_table_9(name, blocks):
    masker = dict(recipe(name).model.maskers.video)
    assert masker.pop('type') == 'ssvideo.BlockMasker' and masker == dict(num_blocks=blocks)
    BlockMasker(**masker)


def test_vimpac__words_of_the_environment_change_resolution_and_layout(monkeypatch):
    for word, value in dict(VIMPAC_FRAMES='10', VIMPAC_SIZE='256', VIMPAC_LAYOUT='T,H,W').items():
        monkeypatch.setenv(word, value)
    for name in ('vimpac_small', 'finetune/vimpac_small_ucf101'):
        backbone = recipe(name).model.backbone
        assert (backbone.grid, backbone.layout) == ((10, 32, 32), 'T,H,W')
    assert recipe('vimpac_small').train_dataloader.video.dataset.store == 'data/howto100m/tokens_256'


# -------------------------------------------------------------------------------------------------------- fine-tuning

@pytest.mark.parametrize(('size', 'name', 'twin'), FINETUNING)
def test_vimpac__finetuning_has_the_numbers_of_table_11(size, name, twin):
    config = recipe(f'finetune/vimpac_{size}_{name}{twin}')
    num_classes, fps, epochs, epochs_from_scratch, spatial_crops = SETS[name]
    epochs = epochs_from_scratch if twin else epochs
    model, loader = config.model, config.train_dataloader
    assert (model.num_classes, model.pool, model.zero_init, model.dropout) == (num_classes, 'summary', True, 0)
    assert model.average_clips == 'prob' and model.backbone.dropout == 0.1 and model.backbone.grid == (10, 32, 32)
    assert (model.backbone.init_cfg is None) == bool(twin)
    assert config.optim_wrapper.optimizer == dict(
        type='AdamW', lr=5e-5 if size == 'large' else 1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    assert config.optim_wrapper.clip_grad.max_norm == 1
    assert 8 * loader.batch_size * config.optim_wrapper.accumulative_counts == 128
    assert config.train_cfg.max_epochs == config.train_cfg.val_interval == epochs
    rise, fall = config.param_scheduler
    assert rise.end == fall.begin == pytest.approx(0.1 * epochs) and (fall.end, fall.end_factor) == (epochs, 0)

    test = config.test_dataloader.dataset
    assert (test.num_clips, len(test.store), test.test_mode) == (10, spatial_crops, True)
    assert config.val_dataloader.dataset == test and test.store[spatial_crops // 2].endswith('/256_center')
    assert loader.dataset.get('num_clips', 1) == 1
    for dataset in (loader.dataset, test):
        assert (dataset.expect, dataset.clip_len) == (dict(fps=fps), 10)
        inspect.signature(TokenClips).bind(**{key: value for key, value in dataset.items() if key != 'type'})


@pytest.mark.parametrize('size', ['large', 'small'])
def test_vimpac__full_size_finetuning_steps(size, meta):
    model = recipe(f'finetune/vimpac_{size}_ucf101').model
    grid = model.backbone.grid
    model, clips = meta(model), meta_clips(grid)
    samples = [ActionDataSample().set_gt_label(label) for label in (0, 100)]
    check_step(model, model(clips, samples, mode='loss'))
    assert [sample.pred_score.shape for sample in model(clips, samples, mode='predict')] == [(101,)] * 2


@pytest.mark.parametrize(('size', 'name', 'twin'), FINETUNING)
def test_vimpac__finetuning_has_one_model_for_all_sets_and_the_twins(size, name, twin):
    """So that one step at full size speaks for all."""
    found, expected = (recipe(f'finetune/vimpac_{size}_{which}').model for which in (f'{name}{twin}', 'ucf101'))
    pretrained = recipe('vimpac_small' if size == 'small' else 'vimpac_large_256').model.backbone
    for model in (found, expected):
        model.pop('num_classes')
        model.backbone.pop('init_cfg')
    assert found == expected
    assert dict(found.backbone, grid=None) == dict(pretrained, grid=None), 'the weights of the pre-training fit'


@pytest.mark.parametrize(('word', 'name', 'fps', 'num_views'), [
    ('ucf101', 'ucf101', 2, 12), ('kinetics400', 'k400', 2, 12), ('hmdb51', 'hmdb51', 4, 12), ('diving48', 'diving48', 4, 12),
    ('ssv2', 'ssv2', 4, 6)])
def test_vimpac__the_store_of_a_set_has_what_its_recipe_reads(word, name, fps, num_views, monkeypatch):
    monkeypatch.setenv('FINETUNE_SET', word)
    tokens, config = recipe('tokenizers/tokens_vimpac_finetune'), recipe(f'finetune/vimpac_large_{name}')
    assert tokens.dataset.pipeline[0].fps == fps == config.train_dataloader.dataset.expect.fps
    views = tokens.views
    assert len(views.scales) * len(views.crops) * len(views.flips) == num_views
    assert config.train_dataloader.dataset.store == f'data/{word}/tokens_{views.size}'
    assert {store.rsplit('/', 1)[1] for store in config.test_dataloader.dataset.store} <= {
        f'{views.size}_{crop}' for crop in views.crops}
    assert tokens.dataset.source.startswith(f'data/{word}/') and config.TRAIN.startswith(f'data/{word}/')


@pytest.mark.parametrize('name', ['ucf101', 'hmdb51'])
def test_vimpac__splits_are_a_word_of_the_environment(name, monkeypatch):
    monkeypatch.setenv('SPLIT', '3')
    for size in ('large', 'small'):
        config = recipe(f'finetune/vimpac_{size}_{name}_scratch')
        assert config.SPLIT == 3
        assert [loader.dataset.labels for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader)] == [
            f'data/{name}/train_3.txt', f'data/{name}/test_3.txt', f'data/{name}/test_3.txt']


def test_vimpac__finetuning_starts_from_the_pretrained_backbone_with_positions_interpolated(tmp_path):
    small = dict(embed_dims=16, num_layers=1, num_heads=2)
    pretraining = recipe('vimpac_small').model
    pretraining.backbone.update(small)
    pretraining.objectives.nce.update(hidden_dims=8, out_dims=8)
    source = MODELS.build(pretraining)
    torch.save(dict(state_dict=source.state_dict()), tmp_path / 'epoch_10.pth')
    finetuning = recipe('finetune/vimpac_small_ucf101').model
    finetuning.backbone.update(small)
    finetuning.backbone.init_cfg.checkpoint = str(tmp_path / 'epoch_10.pth')
    model = MODELS.build(finetuning)
    model.init_weights()
    ours, theirs = model.backbone.state_dict(), source.backbone.state_dict()
    for axis, length in dict(temporal=10, height=32, width=32).items():
        key = f'positions.{axis}'
        expected = torch.nn.functional.interpolate(theirs.pop(key).t()[None], size=length, mode='linear')[0].t()
        assert torch.allclose(ours[key], expected, atol=1e-6)
    assert theirs and all(torch.equal(ours[key], value) for key, value in theirs.items())
    assert not model.fc.weight.any() and not model.fc.bias.any()
