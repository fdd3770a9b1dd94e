"""What keeps a frozen tokenizer cheap in a step, and which pictures it is shown."""
from __future__ import annotations

from pathlib import Path

import pytest
import torch

import ssvideo.models  # noqa: F401
from ssvideo.models.layers.dalle_blocks import DalleEncoder
from ssvideo.models.layers.resize_pixels import resize_pixels
from ssvideo.models.tokenizers import DalleTokenizer
from ssvideo.models.tokenizers.dalle_checkpoint import save_dalle
from ssvideo.registry import MODELS
from ssvideo.structures import PAD, Clips


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    torch.manual_seed(0)
    save_dalle(tmp_path / 'dalle.safetensors', DalleEncoder(8, 1, 16))
    return tmp_path / 'dalle.safetensors'


def pretrainer(tokenizer: dict, **objective):
    torch.manual_seed(0)
    return MODELS.build(dict(
        type='Pretrainer', data_preprocessor=dict(type='ClipPreprocessor', mean=[127.5] * 3, std=[64.0] * 3),
        backbone=dict(type='VideoSwin', patch_size=(2, 4, 4), embed_dims=8, depths=(1, 1, 2, 1), num_heads=(1, 2, 2, 4),
                      window_size=(2, 4, 4), drop_path_rate=0.0),
        maskers=dict(video=dict(type='TubeMasker', min_block=2, temporal_stride=2)), tokenizer=tokenizer,
        objectives=dict(mvm=dict(type='MVM', decoder=dict(type='SwinDecoder', branches=('video',)), **objective))))


def frames_of(model) -> dict[str, Clips]:
    clips = torch.randint(256, (2, 1, 3, 4, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return model.data_preprocessor(dict(video=dict(inputs=list(clips))))['inputs']


def half_hidden() -> torch.Tensor:
    mask = torch.zeros(2, 4, 4, 4, dtype=torch.bool)
    mask[0, 1:3, 1:3] = True
    return mask


def test_pretrainer__tokenizes_in_inference_mode_and_gives_tensors_for_a_backward(checkpoint):
    model, seen = pretrainer(dict(type='DalleTokenizer', checkpoint=str(checkpoint))), []
    tokenizer = model.tokenizers['tokenizer']
    tokenizer.register_forward_pre_hook(lambda *_: seen.append((torch.is_inference_mode_enabled(), tokenizer.training)))
    model.train()
    batch = frames_of(model)
    model.parse_losses(model(batch, mode='loss'))[0].backward()
    assert seen == [(True, False)]
    assert not model.tokenize('video', batch['video'], half_hidden())['tokenizer'].tokens.is_inference()


def test_pretrainer__bfloat16_stays_inside_the_tokenizer(checkpoint):
    model, types = pretrainer(dict(type='DalleTokenizer', checkpoint=str(checkpoint), precision='bfloat16')), {}
    tokenizer = model.tokenizers['tokenizer']
    tokenizer.register_forward_pre_hook(lambda _, args: types.update(view=args[0].dtype))
    tokenizer.encoder.groups[0].register_forward_hook(lambda _, args, out: types.update(inside=out.dtype))
    model.backbone.register_forward_pre_hook(
        lambda _, args: types.update(pixels=args[0].dtype, autocast=torch.is_autocast_enabled('cpu')))
    model.backbone.norm.register_forward_hook(lambda _, args, out: types.update(features=out.dtype))
    model(frames_of(model), mode='loss')
    assert types == dict(view=torch.float32, inside=torch.bfloat16, pixels=torch.float32, autocast=False, features=torch.float32)
    assert all(p.dtype == torch.bfloat16 for p in tokenizer.parameters())  # cast once, not in every step


def test_pretrainer__tokenizes_without_asking_the_device(checkpoint, monkeypatch):
    """On the meta device, which has no values, whatever would wait for one is an error."""
    autocast = torch.autocast  # is not made for that device
    monkeypatch.setattr(torch, 'autocast', lambda device, *args, **options: autocast('cpu', *args, **options))
    model = pretrainer(dict(type='DalleTokenizer', checkpoint=str(checkpoint), precision='bfloat16')).to('meta')
    clips = Clips(frames=torch.zeros(2, 3, 4, 64, 64, dtype=torch.uint8, device='meta'))
    targets = model.tokenize('video', clips, half_hidden())['tokenizer']
    assert targets.tokens.device.type == 'meta' and targets.tokens.shape == (2, 4, 4, 4)
    assert targets.positions.shape == (16,)


@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
def test_dalle_tokenizer__compiles_whole(checkpoint, precision):
    tokenizer = DalleTokenizer(checkpoint, precision=precision)
    pictures = torch.rand(2, 3, 32, 32).to(getattr(torch, precision))
    compiled = torch.compile(tokenizer.encoder, fullgraph=True, backend='eager')
    whole = torch.compile(tokenizer.logits, fullgraph=True, backend='eager')
    with torch.inference_mode():
        assert torch.equal(compiled(pictures), tokenizer.encoder(pictures))
        assert torch.equal(whole(pictures), tokenizer.logits(pictures))


@pytest.mark.parametrize('view_filter', ['lanczos4', 'lanczos'])
def test_pretrainer__shows_the_view_that_the_tokenizer_names(checkpoint, view_filter):
    model, shown = pretrainer(dict(type='DalleTokenizer', checkpoint=str(checkpoint), view_filter=view_filter)), []
    model.tokenizers['tokenizer'].register_forward_pre_hook(lambda _, args: shown.append(args[0]))
    clips = frames_of(model)['video']
    model.tokenize('video', clips, half_hidden())
    model.tokenize('video', clips, half_hidden(), everywhere=True)
    expected = resize_pixels(clips.frames, (32, 32), view_filter)
    assert torch.equal(shown[0], expected[0, :, 1:3].transpose(0, 1)[:, :, None]), 'the two frames that hold a hidden token'
    assert torch.equal(shown[1], expected)


def test_dalle_tokenizer__refuses_another_filter(checkpoint):
    with pytest.raises(ValueError, match="view_filter must be one of .*'lanczos4'.* got 'bicubic'"):
        DalleTokenizer(checkpoint, view_filter='bicubic')


def test_pretrainer__stored_tokens_stand_for_the_default_tokenizer_only(checkpoint):
    two = {name: dict(type='DalleTokenizer', checkpoint=str(checkpoint)) for name in ('one', 'two')}
    model = pretrainer(two, target='two')
    clips = frames_of(model)['video']
    clips.tokens = torch.full((2, 4, 4, 4), 7)
    targets = model.tokenize('video', clips, half_hidden())
    assert targets['one'].tokens is clips.tokens
    found = targets['two'].tokens
    assert (found[1] == PAD).all() and (found[0, 1:3] != PAD).all(), 'made from the frames, as an objective asks for them'


def test_pretrainer__stored_tokens_of_another_grid_are_refused(checkpoint):
    model = pretrainer(dict(type='DalleTokenizer', checkpoint=str(checkpoint)))
    batch = frames_of(model)
    batch['video'].tokens = torch.zeros(2, 4, 8, 8, dtype=torch.long)
    with pytest.raises(ValueError, match=r'grid \(4, 8, 8\).* predicts \(4, 4, 4\).*another view'):
        model(batch, mode='loss')


def test_clip_preprocessor__packs_pixels_and_tokens_of_the_same_clips(checkpoint):
    model = pretrainer(dict(type='DalleTokenizer', checkpoint=str(checkpoint)))
    inputs = [torch.zeros(2, 3, 4, 64, 64, dtype=torch.uint8)] * 3
    tokens = [torch.full((2, 4, 4, 4), i) for i in range(3)]
    clips = model.data_preprocessor(dict(inputs=inputs, tokens=tokens))['inputs']
    assert clips.frames.shape[0] == 6 and clips.num_views == 2 and clips.tokens[:, 0, 0, 0].tolist() == [0, 1, 2, 0, 1, 2]
    with pytest.raises(ValueError, match='6 clips of pixels and 3 of tokens'):
        model.data_preprocessor(dict(inputs=inputs, tokens=[part[:1] for part in tokens]))
