"""What makes a step fast changes no loss and no gradient: ours beside the methods as they are published, written out."""
from __future__ import annotations

import pytest
import torch

import ssvideo.models  # noqa: F401
from ssvideo.models.tokenizers import DalleVAE
from ssvideo.registry import MODELS
from ssvideo.structures import PAD
from tests.plain import plain_config

TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-4}
VIMPAC = dict(
    type='Pretrainer', data_preprocessor=dict(type='ClipPreprocessor'),
    backbone=dict(type='DividedTransformer', grid=(3, 4, 6), vocab_size=40, embed_dims=24, num_layers=2, num_heads=4,
                  dropout=0.0),
    maskers=dict(video=dict(type='BlockMasker', num_blocks=3)),
    objectives=dict(mlm=dict(type='MLM'), nce=dict(type='InfoNCE', hidden_dims=16, out_dims=8)))
SWIN = dict(type='VideoSwin', embed_dims=8, depths=(2, 2, 1), num_heads=(1, 2, 4), window_size=(2, 3, 3), drop_path_rate=0.0)
BEVT = dict(
    type='Pretrainer', data_preprocessor=dict(type='ClipPreprocessor', mean=[120., 110., 100.], std=[60., 50., 40.]),
    backbone=SWIN, maskers=dict(video=dict(type='TubeMasker', temporal_stride=2), image=dict(type='TubeMasker')),
    objectives=dict(mvm=dict(type='MVM', decoder=dict(type='SwinDecoder'))), stream_weights=dict(image=0.5))


@pytest.fixture(scope='module')
def tokenizer(tmp_path_factory):
    path = str(tmp_path_factory.mktemp('tokenizer') / 'dalle.safetensors')
    torch.manual_seed(0)
    DalleVAE(24, 8, num_blocks=1).save_tokenizer(path)
    return dict(type='DalleTokenizer', checkpoint=path)


def build_both(config, dtype):
    """Ours and the plain model with the same weights, far from the initial ones, so that every term shows."""
    torch.manual_seed(0)
    ours, plain = MODELS.build(config), MODELS.build(plain_config(config))
    with torch.no_grad():
        for parameter in (*ours.backbone.parameters(), *ours.objectives.parameters()):
            parameter.add_(torch.randn_like(parameter) * 0.1)
    plain.load_state_dict(ours.state_dict(), strict=True)
    for model in (ours, plain):
        model.to(dtype).train()
        model.tokenizers.float()  # ids are made in float32 by both
    return ours, plain


def compare(config, batch, dtype):
    """Losses and the norm of every gradient of one step."""
    found = []
    for model in build_both(config, dtype):
        torch.manual_seed(1)  # noisy masking draws ids
        total, logged = model.parse_losses(model(**model.data_preprocessor(batch, True), mode='loss'))
        total.backward()
        norms = {name: parameter.grad.norm() for name, parameter in model.named_parameters() if parameter.requires_grad}
        found.append(({name: value for name, value in logged.items() if 'loss' in name or 'accuracy' in name}, norms))
    (losses, norms), (plain_losses, plain_norms) = found
    assert norms.keys() == plain_norms.keys() and sum('loss' in name for name in losses) > 1
    for name, value in plain_losses.items():
        got, value = (x.float() if 'accuracy' in name else x for x in (losses[name], value))  # which one of them gives in float32
        torch.testing.assert_close(got, value, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], check_dtype=False,
                                   msg=lambda m, n=name: f'{n}: {m}')
    largest = max(norms.values()).item()
    assert min(norms.values()) >= 0 and largest > 0.1
    for name, value in plain_norms.items():
        shifts = 'projector' in name and name.endswith('bias')  # before a batch norm: the gradient is rounding noise
        torch.testing.assert_close(norms[name], value, rtol=TOLERANCE[dtype],
                                   atol=TOLERANCE[dtype] * largest * (1 if shifts else 0.1),
                                   msg=lambda m, n=name: f'{n}: {m}')
    return losses


def vimpac_batch(padded):
    tokens = torch.randint(40, (4, 2, 3, 4, 6), generator=torch.Generator().manual_seed(2))
    if padded:
        tokens[0, 1, 2] = PAD  # a frame: every line of it in H and W is PAD
        tokens[2, 0, :, 1, 2:4] = PAD  # time lines
    return dict(video=dict(tokens=list(tokens)))


@pytest.mark.parametrize('dtype', TOLERANCE)
@pytest.mark.parametrize('padded', [False, True], ids=['whole', 'PAD'])
def test_vimpac__is_the_plain_step(padded, dtype):
    compare(VIMPAC, vimpac_batch(padded), dtype)


def test_vimpac__attention_has_a_mask_only_where_tokens_are_pad(monkeypatch):
    masks, attend = [], torch.nn.functional.scaled_dot_product_attention

    def watched(*args, attn_mask=None, **words):
        masks.append(attn_mask)
        return attend(*args, attn_mask=attn_mask, **words)

    monkeypatch.setattr(torch.nn.functional, 'scaled_dot_product_attention', watched)
    model = MODELS.build(VIMPAC)
    for padded in (False, True):
        masks.clear()
        model(**model.data_preprocessor(vimpac_batch(padded), True), mode='loss')
        assert masks and all((mask is not None) == padded for mask in masks)


@pytest.mark.parametrize('changes', [dict(layout='T|H|W', num_heads=6), dict(layout='THW', norm='pre'), dict(layout='T,HW')])
def test_vimpac__noisy_masks_and_other_layouts_are_the_plain_step(changes):
    config = dict(VIMPAC, backbone=VIMPAC['backbone'] | changes,
                  maskers=dict(video=dict(type='BlockMasker', num_blocks=12, noisy=True)))
    compare(config, vimpac_batch(padded=True), torch.float64)


@pytest.mark.parametrize('dtype', TOLERANCE)
def test_bevt__both_streams_are_the_plain_step(tokenizer, dtype):
    generator = torch.Generator().manual_seed(3)
    batch = {stream: dict(inputs=list(torch.randint(256, (2, 1, 3, *shape), dtype=torch.uint8, generator=generator)))
             for stream, shape in dict(video=(6, 64, 40), image=(1, 48, 48)).items()}
    losses = compare(dict(BEVT, tokenizer=tokenizer), batch, dtype)
    assert {'video_mvm_loss', 'image_mvm_loss'} <= losses.keys()


def test_plain_config__refuses_what_is_not_published():
    with pytest.raises(ValueError, match='FrameDiffMasker has no plain counterpart: there are'):
        plain_config(dict(BEVT, maskers=dict(video=dict(type='ssvideo.FrameDiffMasker'))))
