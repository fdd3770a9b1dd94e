"""Nothing of the hidden part gets into the masked area and the model's picture."""
from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import ssvideo.models  # noqa: F401
from ssvideo.apis.reconstruct import reconstruct_masked
from ssvideo.models.tokenizers import DalleVAE, Tokenizer, load_tokenizer
from ssvideo.registry import MODELS
from ssvideo.structures import PAD, Clips

VOCAB = 16
GRID = (4, 4, 4)


@MODELS.register_module()
class BlurredPatches(Tokenizer):
    """Ids of the mean level of 8 x 8 patches; the decoder blurs, so that a token shows in the pixels of its neighbours."""
    vocab_size = VOCAB
    stride = (1, 8, 8)

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(float(VOCAB)))

    def forward(self, pixels):
        levels = pixels.mean(1).unflatten(3, (-1, 8)).unflatten(2, (-1, 8)).mean((3, 5))
        return (levels * self.scale).long().clamp(0, VOCAB - 1)

    def decode(self, tokens):
        pixels = (tokens / VOCAB).repeat_interleave(8, 2).repeat_interleave(8, 3)
        return F.avg_pool2d(pixels, 9, stride=1, padding=4)[:, None].expand(-1, 3, -1, -1, -1)


@pytest.fixture
def dalle(tmp_path):
    torch.manual_seed(0)
    DalleVAE(VOCAB, 8, num_blocks=1).save_tokenizer(tmp_path / 'dalle.safetensors')
    return load_tokenizer(tmp_path / 'dalle.safetensors')


def vimpac(**changes):
    torch.manual_seed(0)
    backbone = dict(type='DividedTransformer', grid=GRID, vocab_size=VOCAB, embed_dims=24, num_layers=1, num_heads=4)
    config = dict(type='Pretrainer', backbone=backbone, maskers=dict(video=dict(type='BlockMasker', num_blocks=3)),
                  objectives=dict(nce=dict(type='InfoNCE', hidden_dims=16, out_dims=8), mlm=dict(type='MLM')))
    return MODELS.build(config | changes)


def bevt():
    torch.manual_seed(0)
    backbone = dict(type='VideoSwin', patch_size=(2, 4, 4), embed_dims=8, depths=(1, 1, 2, 1), num_heads=(1, 2, 2, 4),
                    window_size=(2, 4, 4))
    return MODELS.build(dict(
        type='Pretrainer', data_preprocessor=dict(type='ClipPreprocessor', mean=[127.5] * 3, std=[64.0] * 3),
        backbone=backbone, tokenizer=dict(type='BlurredPatches'), maskers=dict(video=dict(type='TubeMasker', temporal_stride=2)),
        objectives=dict(mvm=dict(type='MVM', decoder=dict(type='SwinDecoder', branches=('video',))))))


def hide(model, kind: int = 1) -> torch.Tensor:
    """Let a model draw one mask again and again; ``kind`` as a noisy masker gives it."""
    mask = torch.zeros(2, *GRID, dtype=torch.int8)
    mask[:, 2:, 1:3, :2] = 1
    mask[1, :2, 3] = kind
    model.draw_mask = lambda stream, clips: mask
    return mask != 0


@pytest.mark.parametrize('kind', [1, 2, 3])
def test_reconstruct_masked__hidden_tokens_do_not_show(dalle, kind):
    model = vimpac()
    mask, tokens = hide(model, kind), torch.randint(VOCAB, (2, *GRID))
    others = torch.where(mask, (tokens + torch.randint(1, VOCAB, tokens.shape)) % VOCAB, tokens)
    first, second = (reconstruct_masked(model, dict(video=Clips(tokens=x)), dalle)['video'] for x in (tokens, others))
    assert torch.equal(first.filled, second.filled) and torch.equal(first.filled[~mask], tokens[~mask])
    for clip in range(2):
        before, after = first.rows(clip), second.rows(clip)
        assert list(before) == ['after the tokenizer', 'masked area', 'model']
        assert np.array_equal(before['masked area'], after['masked area'])
        assert np.array_equal(before['model'], after['model'])
        assert not np.array_equal(before['after the tokenizer'], after['after the tokenizer'])


def test_reconstruct_masked__hidden_pixels_do_not_show():
    model, rng = bevt(), np.random.default_rng(0)
    mask = hide(model)
    frames = torch.from_numpy(rng.integers(0, 256, (2, 3, 4, 64, 64), dtype=np.uint8))
    covered = mask.repeat_interleave(16, 2).repeat_interleave(16, 3)[:, None]
    tokens = torch.randint(VOCAB, mask.shape)  # given, as the tokenizer's view of a visible patch takes in hidden pixels

    def reconstruct(frames, tokens):
        clips = model.data_preprocessor(dict(video=dict(inputs=[clip[None] for clip in frames])))['inputs']['video']
        return reconstruct_masked(model, dict(video=Clips(clips.frames, clips.pixels, tokens)))['video']

    first = reconstruct(frames, tokens)
    second = reconstruct(torch.where(covered, 255 - frames, frames), torch.where(mask, VOCAB - 1 - tokens, tokens))
    for clip in range(2):
        before, after = first.rows(clip), second.rows(clip)
        assert list(before) == ['frames', 'after the tokenizer', 'masked area', 'model']
        assert np.array_equal(before['masked area'], after['masked area'])
        assert np.array_equal(before['model'], after['model'])
        assert not np.array_equal(before['frames'], after['frames'])
        shown = ~covered[clip, 0].numpy()
        assert np.array_equal(before['masked area'][shown], before['frames'][shown]), 'what is visible stays as it is'


def test_reconstruct_masked__takes_the_model_s_own_tokenizer_and_view():
    model = bevt()
    mask = hide(model)
    clips = model.data_preprocessor(dict(video=dict(inputs=[torch.randint(256, (1, 3, 4, 64, 64), dtype=torch.uint8)] * 2)))
    found = reconstruct_masked(model, clips['inputs'])['video']
    assert torch.equal(found.mask, mask) and found.tokenized.shape == (2, 3, 4, 32, 32) and found.frames.shape[-1] == 64
    assert torch.equal(found.tokenized, model.tokenizers['tokenizer'].decode(found.tokens))
    assert torch.equal(found.predicted, model.tokenizers['tokenizer'].decode(found.filled))


def test_reconstruction__measures_what_it_says():
    model = vimpac(tokenizer=dict(type='BlurredPatches'))
    mask, tokens = hide(model), torch.randint(VOCAB, (2, *GRID))
    tokens[1, :, :, 0] = PAD
    mask &= tokens != PAD
    model.draw_mask = lambda stream, clips: mask
    found = reconstruct_masked(model, dict(video=Clips(tokens=tokens)))['video']
    numbers = found.measure(1)
    assert numbers['hidden'] == mask[1].sum().item() / (tokens[1] != PAD).sum().item()
    assert numbers['accuracy'] == (found.filled == tokens)[1][mask[1]].double().mean().item()
    error = (found.predicted - found.tokenized)[1, 0].square().double()
    pixels = mask[1].repeat_interleave(8, 1).repeat_interleave(8, 2)
    video = (tokens[1] != PAD).repeat_interleave(8, 1).repeat_interleave(8, 2)
    assert numbers['psnr_hidden'] == pytest.approx(-10 * error[pixels].mean().log10().item(), rel=1e-5)
    assert numbers['psnr'] == pytest.approx(-10 * error[video].mean().log10().item(), rel=1e-5)
    assert not found.rows(1)['model'][:, :, :8].any(), 'no video is black'
    still = torch.randint(VOCAB, GRID[1:]).expand(2, *GRID).clone()
    model.draw_mask = lambda stream, clips: (torch.arange(4) == 2).view(1, 4, 1, 1).expand(2, *GRID)
    assert reconstruct_masked(model, dict(video=Clips(tokens=still)))['video'].measure(0)['copy_accuracy'] == 1


def test_reconstruct_masked__streams_without_predictions_are_left_out(dalle):
    tokens = torch.randint(VOCAB, (2, *GRID))
    contrast = vimpac(objectives=dict(nce=dict(type='InfoNCE', hidden_dims=16, out_dims=8)))
    assert reconstruct_masked(contrast, dict(video=Clips(tokens=tokens)), dalle) == {}
    clean = vimpac(objectives=dict(mlm=dict(type='MLM', inputs='clean')))
    assert reconstruct_masked(clean, dict(video=Clips(tokens=tokens)), dalle) == {}, 'it has seen what is hidden'


def test_reconstruct_masked__no_tokenizer_is_an_error():
    with pytest.raises(ValueError, match='pass tokenizer='):
        reconstruct_masked(vimpac(), dict(video=Clips(tokens=torch.zeros(2, *GRID, dtype=torch.long))))
