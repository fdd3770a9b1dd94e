"""BEVT's pre-training recipes say what paper and released code say, and step at full size on the meta device."""
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

import ssvideo.datasets
import ssvideo.models  # noqa: F401
from ssvideo.engine.auto_accumulation import keep_global_batch
from ssvideo.models.tokenizers import DalleVAE, PecoVQVAE
from ssvideo.registry import MODELS
from ssvideo.structures import Clips

ROOT = Path(__file__).parents[2]
# Streams, and millions of parameters of the encoder without image stem and mask embedding. Published: 87.64; the image model and
# Swin-T have as many as 2D Swin-B and Video Swin-T without their heads
RECIPES = dict(
    bevt_swin_b=(('video', 'image'), 87.64), bevt_swin_b_peco=(('video', 'image'), 87.64),
    bevt_swin_b_stored=(('video', 'image'), 87.64), bevt_video_swin_b=(('video',), 87.64),
    bevt_image_swin_b=(('image',), 86.74), bevt_video_swin_t=(('video',), 27.85))
TUBE = dict(type='ssvideo.TubeMasker', mask_ratio=0.5, tube_length=(0.5, 1.0), temporal_stride=2)


@pytest.fixture(autouse=True)
def no_words_of_the_environment(monkeypatch):
    for word in ('BEVT_IMAGES', 'PRETRAIN_SET'):
        monkeypatch.delenv(word, raising=False)


def recipe(name: str) -> Config:
    return Config.fromfile(ROOT / 'configs' / f'{name}.py')


def meta_clips(stream: str) -> Clips:
    """Two clips with their tokens, without memory."""
    frames = 16 if stream == 'video' else 1
    with torch.device('meta'):
        return Clips(frames=torch.zeros(2, 3, frames, 224, 224, dtype=torch.uint8), pixels=torch.zeros(2, 3, frames, 224, 224),
                     tokens=torch.zeros(2, frames, 14, 14, dtype=torch.long))


def check_step(model, losses: dict) -> None:
    model.parse_losses(losses)[0].backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.requires_grad and parameter.grad is None]


@pytest.mark.parametrize('name', RECIPES)
def test_bevt__full_size_pretraining_steps_with_the_published_size(name, monkeypatch):
    monkeypatch.setattr(torch, 'autocast', lambda *args, **kwargs: nullcontext())  # it does not know the device
    streams, millions = RECIPES[name]
    config = recipe(name).model
    config.objectives.mvm.vocab_size = 8192
    config.tokenizer = None  # the clips bring their tokens
    with torch.device('meta'):
        model = MODELS.build(config)
    backbone = model.backbone
    encoder = [p.numel() for n, p in backbone.named_parameters() if not n.startswith(backbone.pretraining_only)]
    assert sum(encoder) / 1e6 == pytest.approx(millions, abs=0.006)
    losses = model({stream: meta_clips(stream) for stream in streams}, mode='loss')
    assert {f'{stream}_mvm_loss' for stream in streams} <= set(losses)
    check_step(model, losses)


def tokenizer_file(kind: str, path: Path) -> str:
    """Of the real vocabulary, small inside."""
    trainer = DalleVAE(8192, 4, num_blocks=1) if kind == 'ssvideo.DalleTokenizer' else PecoVQVAE(
        None, 8192, code_dims=4, widths=(4,) * 5, num_blocks=1, attention=False)
    trainer.save_tokenizer(path)
    return str(path)


@pytest.mark.parametrize('name', ['bevt_swin_b_peco', 'bevt_video_swin_t'])
def test_bevt__a_shrunk_recipe_steps_from_pixels_with_its_tokenizer(name, tmp_path):
    config = recipe(name).model
    config.tokenizer.checkpoint = tokenizer_file(config.tokenizer.type, tmp_path / 'tokenizer.safetensors')
    config.backbone.update(embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2))
    model = MODELS.build(config)
    clip = torch.randint(256, (1, 3, 4, 224, 224), dtype=torch.uint8)
    batch = {stream: dict(inputs=[clip if stream == 'video' else clip[:, :, :1]]) for stream in model.maskers}
    check_step(model, model(model.data_preprocessor(batch)['inputs'], mode='loss'))


def test_bevt__joint_stage_has_the_numbers_of_paper_and_code():
    config = recipe('bevt_swin_b')
    assert config.model.backbone == dict(
        type='ssvideo.VideoSwin', patch_size=(2, 4, 4), window_size=(8, 7, 7), embed_dims=128, depths=(2, 2, 18, 2),
        num_heads=(4, 8, 16, 32), drop_path_rate=0.3)
    assert config.model.maskers == dict(video=TUBE, image=dict(type='ssvideo.TubeMasker', mask_ratio=0.5))
    assert config.model.stream_weights == dict(video=1, image=1)
    wrapper = config.optim_wrapper
    assert wrapper.optimizer == dict(type='AdamW', lr=5e-4, betas=(0.9, 0.999), weight_decay=0.05)
    assert wrapper.clip_grad.max_norm == 3 and wrapper.paramwise_cfg.norm_decay_mult == 0
    assert wrapper.paramwise_cfg.custom_keys == dict(relative_position_bias_table=dict(decay_mult=0.0))
    warm_up, decay = config.param_scheduler
    assert (warm_up.end, decay.begin, decay.end, decay.eta_min, config.train_cfg.max_epochs) == (10, 10, 150, 0, 150)
    video, image = config.train_dataloader.video, config.train_dataloader.image
    assert (config.global_batch, config.global_batch * image.batch_size // video.batch_size) == (256, 2048)
    assert 32 * video.batch_size * wrapper.accumulative_counts == 256
    sample, _, *steps = video.dataset.pipeline
    assert sample == dict(type='ssvideo.SampleClips', clip_len=16, frame_interval=8)
    crop, flip, *_ = steps
    assert crop == dict(type='ssvideo.RandomRescaledCrop', size=224, scale_range=(256, 320))
    assert flip == dict(type='Flip', flip_ratio=0.5)
    jitter = dict(type='TorchVisionWrapper', op='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4)
    rescale = dict(type='RandomRescale', scale_range=(256, 320), interpolation='bicubic')
    assert image.dataset.pipeline[1:] == [rescale, jitter, dict(type='RandomCrop', size=224), *steps[1:]]


def test_bevt__other_recipes_differ_from_the_joint_stage_as_the_paper_says():
    joint, image, video, tiny = map(recipe, ('bevt_swin_b', 'bevt_image_swin_b', 'bevt_video_swin_b', 'bevt_video_swin_t'))
    assert joint.load_from == f'work_dirs/bevt_image_swin_b/epoch_{image.max_epochs}.pth'
    assert image.load_from is None and video.load_from is None
    assert image.max_epochs == image.train_cfg.max_epochs == image.param_scheduler[1].end == 800 and image.global_batch == 2048
    assert (image.model.backbone.patch_size, image.model.backbone.window_size) == ((1, 4, 4), (1, 7, 7))
    assert image.optim_wrapper.optimizer.lr == 1.5e-3 and image.optim_wrapper.clip_grad.max_norm == 3
    assert video.train_dataloader.video == joint.train_dataloader.video
    assert video.param_scheduler == joint.param_scheduler and video.optim_wrapper == joint.optim_wrapper
    assert video.model.maskers == dict(video=TUBE)
    assert tiny.model.backbone == dict(
        video.model.backbone, embed_dims=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24), drop_path_rate=0.1)
    peco = recipe('bevt_swin_b_peco')
    assert peco.model == dict(joint.model, tokenizer=peco.model.tokenizer)
    assert peco.model.tokenizer.type == 'ssvideo.PecoTokenizer'


def test_bevt__howto100m_is_one_word(monkeypatch):
    monkeypatch.setenv('PRETRAIN_SET', 'howto100m')
    config = recipe('bevt_video_swin_b')
    assert config.train_cfg.max_epochs == 2
    dataset = config.train_dataloader.video.dataset
    assert (dataset.source, dataset.data_root) == ('data/howto100m/train.txt', 'data/howto100m/videos')
    warm_up, decay = config.param_scheduler
    assert warm_up.end == decay.begin == pytest.approx(2 / 15) and decay.end == 2


@pytest.mark.parametrize('name', ['bevt_swin_b', 'bevt_image_swin_b'])
def test_bevt__images_may_be_frames_of_the_videos(name, monkeypatch):
    plain = recipe(name).train_dataloader.image.dataset
    monkeypatch.setenv('BEVT_IMAGES', 'frames')
    frames = recipe(name).train_dataloader.image.dataset
    assert plain.type == 'ssvideo.ImageList' and plain.pipeline[0].type == 'ssvideo.LoadImage'
    assert (frames.type, frames.source, frames.stream) == ('ssvideo.VideoList', 'data/kinetics400/train.txt', 'image')
    assert frames.pipeline[:2] == [dict(type='ssvideo.SampleClips', clip_len=1), dict(type='ssvideo.DecodeClips')]
    assert frames.pipeline[2:] == plain.pipeline[1:]
    monkeypatch.setenv('BEVT_IMAGES', 'frame')
    with pytest.raises(KeyError, match='frame'):
        recipe(name)


@pytest.mark.parametrize('name', RECIPES)
def test_bevt__any_power_of_two_of_processes_keeps_the_batch(name, monkeypatch):
    for processes in (1, 8, 16, 32):
        monkeypatch.setenv('WORLD_SIZE', str(processes))
        config = recipe(name)
        config.launcher = 'pytorch'
        keep_global_batch(config)
        loader = next(iter(config.train_dataloader.values()))
        batch = processes * loader.batch_size * config.optim_wrapper.accumulative_counts
        assert batch == (2048 if name == 'bevt_image_swin_b' else 256)


def test_bevt__stage_1_initialises_the_joint_stage(tmp_path):
    """Through ``load_from``: the image stream of stage 2 starts with the features of stage 1, and with its decoder and head."""
    models, small = {}, dict(embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), drop_path_rate=0.0)
    for name in ('bevt_image_swin_b', 'bevt_swin_b', 'bevt_video_swin_b'):
        config = recipe(name).model
        config.backbone.update(small)
        config.objectives.mvm.vocab_size = 50
        config.tokenizer = None
        models[name] = MODELS.build(config).eval()
    first, joint, video = models.values()
    torch.nn.init.normal_(first.backbone.mask_embedding)
    for model in (joint, video):
        model.load_state_dict(first.state_dict(), strict=False)
    images = torch.rand(2, 3, 1, 64, 64)
    mask = torch.rand(2, 1, 4, 4) < 0.5
    with torch.no_grad():
        for ours, theirs in zip(joint.backbone(images, mask).maps, first.backbone(images, mask).maps):
            assert torch.allclose(ours, theirs, atol=1e-5)
    ours, theirs = (model.objectives.mvm for model in (joint, first))
    assert torch.equal(ours.classifier.weight, theirs.classifier.weight)
    assert torch.equal(ours.decoder.branches.image.fuse.weight, theirs.decoder.branches.image.fuse.weight)
    assert torch.equal(video.backbone.patch_embed.proj.weight, first.backbone.patch_embed.proj.weight.repeat(1, 1, 2, 1, 1) / 2)
    assert video.backbone.patch_embed_2d is None
