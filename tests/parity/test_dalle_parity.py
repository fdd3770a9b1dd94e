"""The DALL-E dVAE against what the released code computes with the same weights."""
from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ssvideo.models.tokenizers import DalleTokenizer
from ssvideo.models.tokenizers.dalle_checkpoint import from_published, save_dalle
from ssvideo.utils.dalle_pickle import read_dalle_module

DATA = Path(__file__).parent / 'data'
FULL_PRECISION = Path(__file__).resolve().parents[2] / '..' / 'shared' / 'golden'
full_precision = pytest.mark.skipif(not FULL_PRECISION.is_dir(), reason='the golden weights in float32 are not here')


@pytest.fixture(scope='module')
def expected() -> dict[str, torch.Tensor]:
    return load_file(DATA / 'dalle_io.safetensors')


def test_dalle_encoder__gives_the_released_ids(expected, tmp_path):
    """The weights lie here rounded to half precision, which alone moves the logits by 3e-3."""
    weights = load_file(DATA / 'dalle_encoder_weights.safetensors')
    save_dalle(tmp_path / 'dalle.safetensors', from_published(weights))
    tokenizer = DalleTokenizer(tmp_path / 'dalle.safetensors')
    logits = tokenizer.logits(expected['image'])
    assert (logits - expected['logits'].float()).abs().max() < 4e-3
    assert torch.equal(tokenizer(expected['image'][:, :, None])[:, 0], expected['ids'].long())


@full_precision
def test_dalle__gives_the_released_logits_ids_and_pictures(expected, tmp_path):
    encoder = from_published(load_file(FULL_PRECISION / 'dalle_encoder_weights.safetensors'))
    decoder = from_published(load_file(FULL_PRECISION / 'dalle_decoder_weights.safetensors'))
    save_dalle(tmp_path / 'dalle.safetensors', encoder, decoder)
    tokenizer = DalleTokenizer(tmp_path / 'dalle.safetensors')
    logits = tokenizer.logits(expected['image'])
    assert (logits - expected['logits'].float()).abs().max() < 2e-3
    assert torch.equal(tokenizer(expected['image'][:, :, None])[:, 0], expected['ids'].long())
    pictures = tokenizer.decode(expected['ids'].long()[:, None])[:, :, 0]
    assert (pictures - expected['reconstruction']).abs().max() < 1e-6


@full_precision
def test_read_dalle_module__is_the_state_dict():
    weights = load_file(FULL_PRECISION / 'dalle_encoder_weights.safetensors')
    read = read_dalle_module(FULL_PRECISION / 'dalle_encoder_module.pkl')
    assert read.keys() == weights.keys()
    assert all(torch.equal(read[name], weights[name]) for name in weights)
