from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from ssvideo.models.layers.nearest_codes import nearest_codes
from ssvideo.models.layers.peco_blocks import PecoDecoder, PecoEncoder
from ssvideo.models.tokenizers import DalleTokenizer, DalleVAE, PecoTokenizer, PecoVQVAE, load_tokenizer
from ssvideo.models.tokenizers.peco_checkpoint import FORMAT
from ssvideo.registry import MODELS
from ssvideo.structures import PAD

VOCAB = 20


def trainer(**changes) -> PecoVQVAE:
    torch.manual_seed(0)
    return PecoVQVAE(**dict(perceptual=None, vocab_size=VOCAB, code_dims=6, widths=(4, 8, 8, 12), num_blocks=1) | changes)


def trained(**changes) -> PecoVQVAE:
    """One whose codes stand for features of random pictures."""
    model = trainer(**changes).train()
    with torch.no_grad():
        model.loss(torch.rand(4, 3, 32, 32))
    return model.eval()


@pytest.fixture
def clips() -> torch.Tensor:
    return torch.rand(2, 3, 3, 32, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def checkpoint(tmp_path):
    trained().save_tokenizer(tmp_path / 'peco.safetensors')
    return tmp_path / 'peco.safetensors'


def test_nearest_codes__are_those_of_the_least_distance():
    torch.manual_seed(0)
    features, codebook = torch.randn(2, 6, 5, 4), torch.randn(VOCAB, 6)
    tokens = nearest_codes(features, codebook)
    unit = torch.nn.functional.normalize(codebook)
    cosine_tokens = nearest_codes(features, unit)
    for m, y, x in [(m, y, x) for m in range(2) for y in range(5) for x in range(4)]:
        feature = features[m, :, y, x].double()
        distances = [((feature - code) ** 2).sum().item() for code in codebook.double()]
        assert tokens[m, y, x] == distances.index(min(distances))
        cosines = [(feature @ code).item() / feature.norm().item() for code in unit.double()]
        assert cosine_tokens[m, y, x] == cosines.index(max(cosines))


def test_nearest_codes__autocast_does_not_coarsen_them():
    torch.manual_seed(0)
    features, codebook = torch.randn(8, 6, 16, 16), torch.randn(2000, 6)
    expected = nearest_codes(features, codebook)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(nearest_codes(features, codebook), expected)


@pytest.mark.parametrize(('num_stages', 'attention'), [(4, False), (5, True)])
def test_peco_blocks__have_the_stride_of_their_stages(num_stages, attention):
    sizes = dict(widths=(4,) * num_stages, num_blocks=1, code_dims=6, attention=attention)
    encoder, decoder = PecoEncoder(**sizes), PecoDecoder(**sizes)
    features = encoder(torch.rand(2, 3, 32, 64))
    assert encoder.stride == 2 ** (num_stages - 1)
    assert features.shape == (2, 6, 32 // encoder.stride, 64 // encoder.stride)
    assert decoder(features).shape == (2, 3, 32, 64)
    with pytest.raises(ValueError, match=r'positive integers, got widths=\(4, 0\)'):
        PecoEncoder((4, 0), 1, 6, False)


def test_peco_blocks__attention_is_softmax_attention():
    torch.manual_seed(0)
    attention = PecoEncoder((4,), 1, 6, attention=True).stages[0][-1]
    x = torch.randn(1, 4, 2, 3)
    q, k, v = attention.qkv(attention.norm(x))[0].flatten(1).chunk(3)  # (C, positions)
    mixed = torch.stack([v @ (q[:, i] @ k / 2).softmax(0) for i in range(6)], dim=1)  # 2: the root of C
    assert torch.allclose(attention(x), x + attention.out(mixed.view(1, 4, 2, 3)), atol=1e-6)


def test_peco_tokenizer__is_what_was_trained(tmp_path, clips):
    model = trained(perceptual=dict(name='resnet18', layers=(1,), random_weights=True))
    model.save_tokenizer(tmp_path / 'peco.safetensors')
    tokenizer = load_tokenizer(tmp_path / 'peco.safetensors')
    assert isinstance(tokenizer, PecoTokenizer)
    assert (tokenizer.vocab_size, tokenizer.stride, tokenizer.independent_frames) == (VOCAB, (1, 8, 8), True)
    pictures = clips.transpose(1, 2).flatten(0, 1)
    with torch.no_grad():
        tokens = tokenizer(clips)
        assert tokens.shape == (2, 3, 4, 2) and tokens.dtype == torch.int64
        assert tokens.unique().numel() > 3
        assert torch.equal(tokens.flatten(0, 1), model.tokenize(pictures))
        decoded = tokenizer.decode(tokens)
        assert torch.allclose(decoded.transpose(1, 2).flatten(0, 1), model.decode(model.tokenize(pictures)), atol=1e-6)
    assert not any('perceptual' in name for name in load_file(tmp_path / 'peco.safetensors'))


def test_peco_tokenizer__is_frozen_chunked_and_chooses_its_precision(checkpoint, clips):
    tokenizer, small = PecoTokenizer(checkpoint), PecoTokenizer(checkpoint, frames_per_chunk=4)
    assert not tokenizer.training and not any(p.requires_grad for p in tokenizer.parameters())
    seen = []
    small.encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    assert torch.equal(small(clips), tokenizer(clips))
    assert [len(chunk) for chunk in seen] == [4, 2]
    assert all(chunk.is_contiguous(memory_format=torch.channels_last) for chunk in seen)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(tokenizer(clips), small(clips))
    coarse = PecoTokenizer(checkpoint, precision='bfloat16')
    kinds = []
    coarse.encoder.register_forward_hook(lambda _, args, out: kinds.append(out.dtype))
    assert (coarse(clips) == tokenizer(clips)).float().mean() > 0.7
    assert kinds == [torch.bfloat16]


def test_peco_tokenizer__says_what_is_wrong(checkpoint, clips, tmp_path):
    tokenizer = PecoTokenizer(checkpoint)
    with pytest.raises(ValueError, match='PecoTokenizer: height and width must be multiples of 8'):
        tokenizer(clips[..., :12])
    with pytest.raises(ValueError, match=r'float in \[0, 1\], got .*uint8'):
        tokenizer(clips.byte())
    with pytest.raises(ValueError, match='leave out frames of PAD'):
        tokenizer.decode(torch.full((1, 1, 2, 2), PAD))
    with pytest.raises(ValueError, match='frames_per_chunk must be at least 1'):
        PecoTokenizer(checkpoint, frames_per_chunk=0)
    with pytest.raises(ValueError, match="'float32' or 'bfloat16', got 'half'"):
        PecoTokenizer(checkpoint, precision='half')
    with pytest.raises(ValueError, match="PecoTokenizer: view_filter must be one of .* got 'bicubic'"):
        PecoTokenizer(checkpoint, view_filter='bicubic')
    for load in (PecoTokenizer, load_tokenizer):
        with pytest.raises(FileNotFoundError, match='configs/tokenizers'):
            load(tmp_path / 'missing.safetensors')
        for length in (0, 100, checkpoint.stat().st_size - 1):
            (tmp_path / 'cut.safetensors').write_bytes(checkpoint.read_bytes()[:length])
            with pytest.raises(ValueError, match='not a whole safetensors file'):
                load(tmp_path / 'cut.safetensors')
    save_file({'a': torch.zeros(1)}, tmp_path / 'other.safetensors')
    with pytest.raises(ValueError, match=f"format=None, expected '{FORMAT}'"):
        PecoTokenizer(tmp_path / 'other.safetensors')
    with pytest.raises(ValueError, match='format=None, expected one of'):
        load_tokenizer(tmp_path / 'other.safetensors')


def test_load_tokenizer__picks_the_class_and_each_class_refuses_the_other(checkpoint, tmp_path):
    DalleVAE(VOCAB, 8, num_blocks=1).save_tokenizer(tmp_path / 'dalle.safetensors')
    dalle = load_tokenizer(tmp_path / 'dalle.safetensors', precision='bfloat16')
    assert isinstance(dalle, DalleTokenizer) and dalle.precision == 'bfloat16'
    with pytest.raises(ValueError, match=f"format='ssvideo.dalle/1', expected '{FORMAT}'"):
        PecoTokenizer(tmp_path / 'dalle.safetensors')
    with pytest.raises(ValueError, match=f"format='{FORMAT}', expected 'ssvideo.dalle/1'"):
        DalleTokenizer(checkpoint)


@pytest.mark.parametrize(('change', 'architecture', 'message'), [
    (lambda w: w.pop('encoder.stem.weight'), {}, 'encoder does not hold the weights of PecoEncoder.*Missing key'),
    (lambda w: w.update({'decoder.head.bias': torch.zeros(4)}), {}, 'decoder does not hold .*size mismatch'),
    (lambda w: w.update({'codebook': torch.zeros(VOCAB, 7)}), {}, r'the codebook must be \(vocab_size, 6\), got \(20, 7\)'),
    (lambda w: w.pop('codebook'), {}, 'the codebook must be .* got None'),
    (lambda w: w.update({'head': torch.zeros(1)}), {}, r"belong to no part of a tokenizer: \['head'\]"),
    (lambda w: None, dict(num_heads=3), 'the metadata does not describe its architecture.*num_heads')])
def test_peco_tokenizer__loads_strictly(checkpoint, tmp_path, change, architecture, message):
    weights, sizes = load_file(checkpoint), dict(widths=(4, 8, 8, 12), num_blocks=1, code_dims=6, attention=True)
    change(weights)
    metadata = dict(format=FORMAT, architecture=json.dumps(sizes | architecture))
    save_file(weights, tmp_path / 'changed.safetensors', metadata)
    with pytest.raises(ValueError, match=f'(?s){message}'):
        PecoTokenizer(tmp_path / 'changed.safetensors')


def test_peco_tokenizer__of_stride_16_sees_the_frames_of_bevt_themselves(tmp_path):
    """14 x 14 tokens of 16 x 16 pixels are the whole crop of 224: no smaller view is made."""
    trained(widths=(4,) * 5, attention=False).save_tokenizer(tmp_path / 'peco.safetensors')
    torch.manual_seed(0)
    model = MODELS.build(dict(
        type='Pretrainer', data_preprocessor=dict(type='ClipPreprocessor', mean=[127.5] * 3, std=[64.0] * 3),
        backbone=dict(type='VideoSwin', patch_size=(2, 4, 4), embed_dims=4, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2),
                      window_size=(2, 7, 7), drop_path_rate=0.0),
        tokenizer=dict(type='PecoTokenizer', checkpoint=str(tmp_path / 'peco.safetensors')),
        maskers=dict(video=dict(type='TubeMasker', mask_ratio=0.5, temporal_stride=2)),
        objectives=dict(mvm=dict(type='MVM', decoder=dict(type='SwinDecoder', branches=('video',))))))
    frames = torch.randint(256, (1, 3, 2, 224, 224), dtype=torch.uint8)
    batch = model.data_preprocessor(dict(video=dict(inputs=[frames])))['inputs']
    shown = []
    tokenizer = model.tokenizers['tokenizer']
    tokenizer.encoder.register_forward_pre_hook(lambda _, args: shown.append(args[0]))
    mask = torch.ones(1, 2, 14, 14, dtype=torch.bool)
    targets = model.tokenize('video', batch['video'], mask)['tokenizer']
    assert targets.tokens.shape == (1, 2, 14, 14)
    assert torch.equal(torch.cat(shown), frames[0].transpose(0, 1) / 255)
    loss, _ = model.parse_losses(model(batch, mode='loss'))
    loss.backward()
    assert loss.isfinite() and model.backbone.patch_embed.proj.weight.grad.abs().max() > 0
