from __future__ import annotations

import pytest
import torch

from ssvideo.models.frozen_encoder import FrozenEncoder, build_encoder
from ssvideo.models.tokenizers import DalleVAE, load_tokenizer
from ssvideo.registry import MODELS
from ssvideo.structures import Clips

VOCAB, GRID = 16, (4, 4, 4)
TRANSFORMER = dict(type='ssvideo.DividedTransformer', grid=GRID, vocab_size=VOCAB, embed_dims=24, num_layers=1, num_heads=4,
                   dropout=0.5)
SWIN = dict(type='ssvideo.VideoSwin', patch_size=(2, 4, 4), embed_dims=8, depths=(1, 1), num_heads=(1, 2), window_size=(2, 4, 4))
PIXELS = dict(type='ssvideo.ClipPreprocessor', mean=[127.5] * 3, std=[64.0] * 3)
CLASSIFIER = dict(type='ssvideo.ClipClassifier', backbone=TRANSFORMER, num_classes=3)
PRETRAINER = dict(type='ssvideo.Pretrainer', backbone=TRANSFORMER, objectives=dict(mlm=dict(type='ssvideo.MLM')),
                  maskers=dict(video=dict(type='ssvideo.BlockMasker', num_blocks=2)))


def tokens() -> Clips:
    return Clips(tokens=torch.randint(VOCAB, (2, *GRID), generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize('trained', [PRETRAINER, CLASSIFIER])
@pytest.mark.parametrize('wrap', [dict, lambda weights: dict(state_dict=weights, meta=dict(epoch=1))])
def test_build_encoder__has_the_weights_of_any_model_with_its_backbone(tmp_path, trained, wrap):
    torch.manual_seed(5)
    model = MODELS.build(trained)
    torch.save(wrap(model.state_dict()), tmp_path / 'model.pth')
    elsewhere = dict(TRANSFORMER, init_cfg=dict(type='Pretrained', checkpoint='gone.pth'))
    encoder = build_encoder(CLASSIFIER | dict(backbone=elsewhere), tmp_path / 'model.pth')
    with torch.no_grad():
        torch.testing.assert_close(encoder(tokens()).summary, model.eval().backbone(tokens().tokens).summary)
    assert not encoder.train().training, 'no dropout, whatever is asked'


def test_build_encoder__other_weights_are_refused(tmp_path):
    torch.save(MODELS.build(SWIN).state_dict(), tmp_path / 'swin.pth')
    with pytest.raises(ValueError, match='swin.pth does not fit the backbone'):
        build_encoder(CLASSIFIER, tmp_path / 'swin.pth')
    torch.save(dict(MODELS.build(CLASSIFIER).state_dict(), **{'backbone.more': torch.zeros(1)}), tmp_path / 'more.pth')
    with pytest.raises(ValueError, match='more.pth does not fit the backbone'):
        build_encoder(CLASSIFIER, tmp_path / 'more.pth')


def test_build_encoder__random_weights_are_those_of_the_seed():
    torch.manual_seed(0)
    one = build_encoder(CLASSIFIER, None, seed=1)(tokens()).summary
    torch.manual_seed(9)
    state = torch.random.get_rng_state()
    again, other = (build_encoder(CLASSIFIER, None, seed=seed)(tokens()).summary for seed in (1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_frozen_encoder__tokenizes_frames_and_normalises_pixels(tmp_path):
    frames = torch.randint(256, (2, 3, 4, 32, 32), dtype=torch.uint8)
    DalleVAE(VOCAB, 8, num_blocks=1).save_tokenizer(tmp_path / 'dalle.safetensors')
    encoder = build_encoder(CLASSIFIER, None, tmp_path / 'dalle.safetensors')
    ids = load_tokenizer(tmp_path / 'dalle.safetensors')(frames / 255)
    assert torch.equal(encoder.encode_frames(frames).summary, encoder(Clips(tokens=ids)).summary)
    encoder = build_encoder(dict(backbone=SWIN, data_preprocessor=PIXELS), None)
    assert torch.equal(encoder.encode_frames(frames).summary, encoder(Clips(pixels=(frames - 127.5) / 64)).summary)


def test_frozen_encoder__what_is_missing_is_said(tmp_path):
    frames = torch.zeros(1, 3, 4, 32, 32, dtype=torch.uint8)
    with pytest.raises(ValueError, match='say which tokenizer'):
        build_encoder(CLASSIFIER, None).encode_frames(frames)
    with pytest.raises(ValueError, match='how to normalise'):
        build_encoder(dict(backbone=SWIN), None)
    with pytest.raises(ValueError, match='leave out the tokenizer'):
        build_encoder(dict(backbone=SWIN, data_preprocessor=PIXELS), None, 'dalle.safetensors')
    with pytest.raises(ValueError, match='without a backbone'):
        build_encoder(dict(type='ssvideo.DalleVAE'), None)
    with pytest.raises(ValueError, match='has no backbone'):
        FrozenEncoder.of(torch.nn.Linear(1, 1))
