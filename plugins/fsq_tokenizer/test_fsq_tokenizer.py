"""FSQ against a slow reference, its file, and its tokens in VIMPAC."""
from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from safetensors.torch import load_file, save_file

from plugins.fsq_tokenizer import FsqTokenizer, FsqVAE
from plugins.fsq_tokenizer.fsq_checkpoint import FORMAT
from plugins.fsq_tokenizer.levels import build_quantizer
from ssvideo.contracts import check_tokenizer
from ssvideo.models.tokenizers import DalleVAE, load_tokenizer
from ssvideo.registry import MODELS
from ssvideo.utils.checksum import checksum_of

FOLDER = Path(__file__).parent
LEVELS = [5, 4, 3]


def trainer(**changes) -> FsqVAE:
    torch.manual_seed(0)
    return FsqVAE(**dict(levels=LEVELS, perceptual=None, widths=(4, 8, 8), num_blocks=1, attention=False) | changes)


def spread(model: FsqVAE) -> FsqVAE:
    """Untrained features are all but the same; these fill the grid."""
    torch.nn.init.normal_(model.encoder.head.weight, std=1.0)
    return model


def pictures(num: int = 4) -> torch.Tensor:
    return torch.rand(num, 3, 16, 24, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def checkpoint(tmp_path):
    spread(trainer()).save_tokenizer(tmp_path / 'fsq.safetensors')
    return tmp_path / 'fsq.safetensors'


def digit_of(feature: float, levels: int) -> int:
    """Round one channel to one of its levels, 0 .. levels - 1: Eq. 1 of the paper, with the shift of an even number."""
    half = (levels - 1) * 1.001 / 2  # a little more than the last level, so that a tanh gets there
    offset = 0.5 if levels % 2 == 0 else 0.0
    bounded = math.tanh(feature + math.atanh(offset / half)) * half - offset
    return round(bounded) + levels // 2


@pytest.mark.parametrize('levels', [[8, 6, 5], [8, 5, 5, 5], [7, 5, 5, 5, 5], [8, 8, 8, 6, 5], [8, 8, 8, 5, 5, 5]])
def test_fsq__ids_are_the_number_that_the_levels_spell(levels):
    quantizer = build_quantizer(levels)
    assert quantizer.codebook_size == math.prod(levels)
    features = 2 * torch.randn(1, len(levels), 4, 5, generator=torch.Generator().manual_seed(0))
    codes, tokens = quantizer(features)
    for y, x in [(y, x) for y in range(4) for x in range(5)]:
        digits = [digit_of(feature.item(), level) for feature, level in zip(features[0, :, y, x], levels)]
        assert tokens[0, y, x] == sum(digit * math.prod(levels[:i]) for i, digit in enumerate(digits))
        expected = [(digit - level // 2) / (level // 2) for digit, level in zip(digits, levels)]
        assert codes[0, :, y, x].tolist() == pytest.approx(expected)


def test_fsq__every_id_is_a_code_and_back():
    quantizer = build_quantizer(LEVELS)
    tokens = torch.arange(60).view(1, 6, 10)
    codes = quantizer.indices_to_codes(tokens)  # (1, 3, 6, 10)
    assert len(codes.flatten(2)[0].t().unique(dim=0)) == 60
    assert torch.equal(quantizer.codes_to_indices(codes.movedim(1, -1)), tokens)


def test_fsq_vae__gradients_pass_the_rounding_straight_through():
    """Between features and codes there is the derivative of the bound and nothing else."""
    model, kept = spread(trainer()), {}

    def keep(name):
        def hook(module, args, out=None):
            kept[name] = out if out is not None else args[0]
            kept[name].retain_grad()
        return hook

    model.encoder.register_forward_hook(keep('features'))
    model.decoder.register_forward_pre_hook(keep('codes'))
    model.loss(pictures())['loss_pixels'].backward()
    features, codes = kept['features'], kept['codes']
    levels = torch.tensor(LEVELS).view(3, 1, 1)
    half, offset = (levels - 1) * 1.001 / 2, (levels % 2 == 0) * 0.5
    slope = (1 - torch.tanh(features + torch.atanh(offset / half)).square()) * half / (levels // 2)
    assert codes.grad.abs().max() > 0
    torch.testing.assert_close(features.grad, codes.grad * slope, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize('pixel_distance', ['l1', 'l2'])
def test_fsq_vae__loss_is_the_sum_of_its_terms(pixel_distance):
    perceptual = dict(name='resnet18', layers=(1,), random_weights=True)
    model, batch = spread(trainer(perceptual=perceptual, pixel_distance=pixel_distance, perceptual_weight=0.5)), pictures()
    terms = model.loss(batch)
    with torch.no_grad():
        tokens = model.tokenize(batch)
        rebuilt = model.decoder(build_quantizer(LEVELS).indices_to_codes(tokens))
    error = rebuilt - batch
    expected = error.abs().mean() if pixel_distance == 'l1' else error.square().mean()
    assert terms['loss_pixels'].item() == pytest.approx(expected.item(), rel=1e-4)
    assert terms['loss_perceptual'].item() == pytest.approx(0.5 * model.perceptual(rebuilt, batch).item(), rel=1e-3)
    assert terms['codebook_use'].item() == pytest.approx(len(tokens.unique()) / 60)
    assert len(tokens.unique()) > 10
    assert [name for name in terms if 'loss' in name] == ['loss_pixels', 'loss_perceptual']
    sum(value for name, value in terms.items() if 'loss' in name).backward()
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]


def test_fsq_tokenizer__is_what_was_trained(tmp_path):
    model = spread(trainer()).eval()
    model.save_tokenizer(tmp_path / 'fsq.safetensors')
    tokenizer = load_tokenizer(tmp_path / 'fsq.safetensors', frames_per_chunk=3)
    assert isinstance(tokenizer, FsqTokenizer)
    assert (tokenizer.vocab_size, tokenizer.stride) == (60, (1, 4, 4))
    check_tokenizer(tokenizer)
    batch = pictures()
    clips = batch.unflatten(0, (2, 2)).transpose(1, 2)  # two of two frames
    with torch.no_grad():
        tokens = tokenizer(clips)
        assert torch.equal(tokens.flatten(0, 1), model.tokenize(batch))
        rebuilt = model.decoder(model.quantize(batch)[0]).clamp(0, 1)
        torch.testing.assert_close(tokenizer.decode(tokens).transpose(1, 2).flatten(0, 1), rebuilt, atol=1e-6, rtol=0)
        with torch.autocast('cpu', torch.bfloat16):
            assert torch.equal(tokenizer(clips), tokens), 'its own precision holds'


def test_fsq_tokenizer__its_checksum_knows_the_levels(tmp_path):
    model = trainer()
    sums = set()
    for levels in ([5, 4, 3], [3, 4, 5]):
        model.levels = levels
        model.save_tokenizer(tmp_path / 'fsq.safetensors')
        sums.add(checksum_of(load_tokenizer(tmp_path / 'fsq.safetensors')))
    assert len(sums) == 2


@pytest.mark.parametrize(('change', 'metadata', 'message'), [
    (lambda w: w.pop('encoder.stem.weight'), {}, 'encoder does not hold the weights of PecoEncoder.*Missing key'),
    (lambda w: w.update({'head': torch.zeros(1)}), {}, r"belong to no part of a tokenizer: \['head'\]"),
    (lambda w: None, dict(levels='[5, 4]'), 'codes of 3 channels need as many levels, its metadata names 2'),
    (lambda w: None, dict(levels='[5, 4, 2]'), r'levels must be a list of integers of at least 3.*got \[5, 4, 2\]'),
    (lambda w: None, dict(levels='"5,4,3"'), "levels must be a list of integers of at least 3.*got '5,4,3'"),
    (lambda w: None, dict(levels='{'), 'the metadata does not describe its architecture')])
def test_fsq_tokenizer__loads_strictly(checkpoint, tmp_path, change, metadata, message):
    weights = load_file(checkpoint)
    change(weights)
    sizes = json.dumps(dict(widths=(4, 8, 8), num_blocks=1, code_dims=3, attention=False))
    save_file(weights, tmp_path / 'changed.safetensors', dict(format=FORMAT, architecture=sizes, levels='[5, 4, 3]') | metadata)
    with pytest.raises(ValueError, match=f'(?s){message}'):
        load_tokenizer(tmp_path / 'changed.safetensors')


def test_fsq_tokenizer__refuses_another_tokenizers_file(tmp_path):
    DalleVAE(20, 8, num_blocks=1).save_tokenizer(tmp_path / 'dalle.safetensors')
    with pytest.raises(ValueError, match=f"format='ssvideo.dalle/1', expected '{FORMAT}'"):
        FsqTokenizer(tmp_path / 'dalle.safetensors')
    with pytest.raises(ValueError, match="pixel_distance must be one of .*got 'l3'"):
        trainer(pixel_distance='l3')


def test_fsq_vae__learns_as_configured():
    config = Config.fromfile(FOLDER / 'config_small.py')
    torch.manual_seed(0)
    model = MODELS.build(config.model).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    ramp = torch.linspace(0, 1, 16).expand(16, 16)
    batch = torch.stack([torch.stack((ramp.roll(i, 1), ramp.roll(2 * i, 1).t(), ramp)) for i in range(8)])
    history = []
    for _ in range(20):
        loss = model.loss(batch)['loss_pixels']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.5 * history[0]


def test_fsq_vae__the_recipe_steps_when_shrunk():
    model = Config.fromfile(FOLDER / 'config.py').model
    assert (math.prod(model.levels), 2 ** (len(model.widths) - 1)) == (15360, 8)
    model.update(widths=(4,) * 4, num_blocks=1)
    model.perceptual = dict(name='resnet18', layers=(0,), random_weights=True)
    model = MODELS.build(model)
    model.parse_losses(model.loss(pictures()))[0].backward()
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]


@pytest.mark.parametrize('name', ['config_vimpac.py', 'config_small_vimpac.py'])
def test_vimpac__reads_and_predicts_fsq_ids(name, tmp_path):
    """The vocabulary of the config is that of the tokenizer, and a model made smaller steps on its ids."""
    levels = Config.fromfile(FOLDER / name.replace('_vimpac', '')).model.levels
    config = Config.fromfile(FOLDER / name)
    assert config.model.backbone.vocab_size == math.prod(levels)
    config.model.backbone.update(embed_dims=16, num_layers=1, num_heads=2)
    config.model.objectives.nce.update(hidden_dims=8, out_dims=4)
    config.model.objectives.nce.pop('num_pairs', None)
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    grid = config.model.backbone.grid
    tokens = torch.randint(math.prod(levels), (2, 2, *grid))  # two videos, two clips of each
    batch = model.data_preprocessor(dict(video=dict(tokens=list(tokens))))['inputs']
    total, _ = model.parse_losses(model(batch, mode='loss'))
    total.backward()
    assert total.isfinite() and not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]


def test_load_tokenizer__a_file_of_a_plugin_that_is_not_loaded_says_so(checkpoint, monkeypatch):
    monkeypatch.delitem(MODELS.module_dict, 'FsqTokenizer')
    with pytest.raises(ValueError, match=f"not a tokenizer file that is known here.*format='{FORMAT}'.*load the plugin"):
        load_tokenizer(checkpoint)
