"""Features of timm's own forward pass, what checkpoints know of the network, and training in a ``Pretrainer``."""
from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
from mmengine.config import Config
from safetensors.torch import save_file

from plugins.clip_targets import FeatureRegression, FeatureTargets
from ssvideo.contracts import check_objective, check_tokenizer
from ssvideo.engine.same_run import checksums_of_tokenizers, compare_tokenizers
from ssvideo.registry import MODELS
from ssvideo.structures import Features, MaskedTokens

FOLDER = Path(__file__).parent
SMALL = dict(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=2)
VIT = dict(name='vit_tiny_patch16_224', arguments=SMALL)


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    network = timm.create_model('vit_tiny_patch16_224', pretrained=False, num_classes=5, **SMALL)
    save_file(network.state_dict(), tmp_path / 'vit.safetensors')
    return tmp_path / 'vit.safetensors', network.eval()


def test_feature_targets__are_the_patch_tokens_of_the_last_block(weights):
    """Against timm's blocks called one after another, on pixels normalised as timm says for the name."""
    path, network = weights
    pixels = torch.rand(2, 3, 4, 32, 32)
    targets = FeatureTargets(**VIT, weights=path, frames=2, frames_per_chunk=3)
    found = targets(pixels)
    assert (targets.stride, targets.target_dims, found.shape) == ((2, 8, 8), 24, (2, 2, 4, 4, 24))
    for n, t in [(0, 0), (1, 1)]:
        with torch.no_grad():
            picture = (pixels[n, :, 2 * t] - 0.5) / 0.5  # vit_tiny_patch16_224's colours; the first of two frames
            x = network._pos_embed(network.patch_embed(picture[None]))
            for block in network.blocks:
                x = block(x)
        x = x[0, 1:].view(4, 4, 24)  # without [CLS]
        expected = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        torch.testing.assert_close(found[n, t], expected, atol=1e-4, rtol=1e-4)
    raw = FeatureTargets(**VIT, weights=path, normalise=False)(pixels[:, :, :1])
    assert torch.allclose(F.layer_norm(raw, (24,)), found[:, :1], atol=1e-5)


@pytest.mark.parametrize('arguments', [
    dict(name='resnet18', layer=2, random_weights=True), dict(name='resnet18', layer=1, frames=2, random_weights=True),
    dict(VIT, arguments=dict(SMALL, dynamic_img_size=True), layer=1, random_weights=True)])
def test_feature_targets__fulfil_the_contract(arguments):
    check_tokenizer(FeatureTargets(**arguments), grid=(2, 8, 8))


def test_feature_targets__normalise_colours_by_the_tag():
    pixels = torch.rand(1, 3, 1, 32, 32)
    clip, plain = (FeatureTargets(name, arguments=SMALL, random_weights=True)
                   for name in ('vit_base_patch16_clip_224.openai', 'vit_base_patch16_224'))
    assert clip.mean.flatten().tolist() == pytest.approx([0.4815, 0.4578, 0.4082], abs=1e-4)
    assert plain.mean.flatten().tolist() == [0.5, 0.5, 0.5]
    assert not torch.allclose(clip(pixels), plain(pixels), atol=1e-2)


def test_feature_targets__say_what_is_wrong(weights, tmp_path):
    path, network = weights
    with pytest.raises(ValueError, match='FeatureTargets: got weights=None and random_weights=False; give a file of weights'):
        FeatureTargets(**VIT)
    with pytest.raises(FileNotFoundError, match='there is no file of weights'):
        FeatureTargets(**VIT, weights=tmp_path / 'none.safetensors')
    save_file({key: value for key, value in network.state_dict().items() if key != 'pos_embed'}, tmp_path / 'less.safetensors')
    with pytest.raises(ValueError, match=r'1 missing \(pos_embed\)'):
        FeatureTargets(**VIT, weights=tmp_path / 'less.safetensors')
    with pytest.raises(ValueError, match="timm has no network 'clip_of_nobody'"):
        FeatureTargets('clip_of_nobody', random_weights=True)
    with pytest.raises(ValueError, match='has the layers 0 to 2, got layer=3'):
        FeatureTargets(**VIT, weights=path, layer=3)
    targets = FeatureTargets(**VIT, weights=path)
    with pytest.raises(ValueError, match='reads pictures of 32 x 32 pixels, got 16 x 16.*dynamic_img_size=True'):
        targets(torch.rand(1, 3, 1, 16, 16))
    with pytest.raises(ValueError, match='multiples of 8 pixels, got 20 x 16'):
        FeatureTargets('resnet18', layer=2, random_weights=True)(torch.rand(1, 3, 1, 20, 16))
    with pytest.raises(NotImplementedError, match='FeatureTargets has no decoder'):
        targets.decode(targets(torch.rand(1, 3, 1, 32, 32)))


def objective_of(distance: str) -> tuple[FeatureRegression, Features, MaskedTokens]:
    torch.manual_seed(0)
    backbone = MODELS.build(dict(type='VideoSwin', embed_dims=8, depths=(1, 1), num_heads=(1, 2), window_size=(2, 4, 4),
                                 patch_size=(1, 4, 4), drop_path_rate=0.0))
    tokenizer = FeatureTargets('resnet18', layer=1, random_weights=True)
    objective = FeatureRegression(backbone, tokenizer, distance=distance, beta=0.5,
                                  decoder=dict(type='SwinDecoder', temporal_upsample=1, branches=('video',)))
    pixels = torch.rand(2, 3, 2, 32, 32)
    mask = torch.rand(2, 2, 8, 8) < 0.4
    masked = MaskedTokens(tokens=tokenizer(pixels), mask=mask, positions=mask.flatten().nonzero().squeeze(1))
    return objective, backbone(pixels, mask), masked


@pytest.mark.parametrize('distance', ['cosine', 'smooth_l1'])
def test_feature_regression__fulfils_the_contract_and_matches_a_slow_reference(distance):
    objective, features, masked = objective_of(distance)
    check_objective(objective, features, masked)
    terms = objective(features, masked)
    predicted, targets = objective.predict(features, masked).tolist(), masked.tokens[masked.mask].tolist()

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b)) / (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5

    def smooth(a: list[float], b: list[float]) -> float:
        parts = [(x - y) ** 2 if abs(x - y) < 0.5 else abs(x - y) - 0.25 for x, y in zip(a, b)]  # beta is 0.5
        return sum(parts) / len(parts)

    cosines, mean = [cosine(a, b) for a, b in zip(predicted, targets)], [sum(column) / len(targets) for column in zip(*targets)]
    losses = [1 - c for c in cosines] if distance == 'cosine' else [smooth(a, b) for a, b in zip(predicted, targets)]
    assert terms['loss'].item() == pytest.approx(sum(losses) / len(losses), rel=1e-3)
    assert terms['similarity'].item() == pytest.approx(sum(cosines) / len(cosines), abs=1e-4)
    assert terms['mean_similarity'].item() == pytest.approx(sum(cosine(b, mean) for b in targets) / len(targets), abs=1e-4)


def test_feature_regression__says_what_does_not_fit():
    objective, _, _ = objective_of('cosine')
    with pytest.raises(ValueError, match="distance must be 'cosine' or 'smooth_l1' and beta positive, got 'l2'"):
        FeatureRegression(None, None, decoder={}, distance='l2')
    with pytest.raises(ValueError, match='needs a tokenizer with continuous targets'):
        FeatureRegression(None, None, decoder={})


def pretrainer(path: Path) -> torch.nn.Module:
    model = Config.fromfile(FOLDER / 'config_small.py').model
    model.backbone.update(embed_dims=8, depths=(1, 1, 1))
    model.tokenizer = dict(type='ssvideo.FeatureTargets', name='vit_tiny_patch16_224', weights=str(path), frames=2,
                           arguments=dict(SMALL, dynamic_img_size=True))
    torch.manual_seed(0)
    return MODELS.build(model)


def test_checkpoints__name_the_network_by_its_checksum_and_do_not_hold_it(weights, tmp_path):
    path, network = weights
    model = pretrainer(path)
    state = model.state_dict()
    assert state and not [key for key in state if 'network' in key or key.startswith('tokenizers')]
    saved = checksums_of_tokenizers(model)
    assert compare_tokenizers(saved, checksums_of_tokenizers(pretrainer(path))) is None
    with torch.no_grad():
        network.blocks[0].mlp.fc1.weight.mul_(1.01)
    save_file(network.state_dict(), tmp_path / 'other.safetensors')
    other = pretrainer(tmp_path / 'other.safetensors')
    assert 'another tokenizer' in compare_tokenizers(saved, checksums_of_tokenizers(other))
    other.load_state_dict(state)  # strictly, and its own network stays
    assert torch.equal(other.tokenizers['tokenizer'].network.blocks[0].mlp.fc1.weight, network.blocks[0].mlp.fc1.weight)


def test_clip_targets__the_network_stays_frozen_while_the_model_learns(weights):
    model = pretrainer(weights[0]).train()
    frames = torch.randint(256, (2, 3, 8, 64, 64), dtype=torch.uint8)
    inputs = model.data_preprocessor(dict(video=dict(inputs=list(frames[:, None]))))['inputs']
    before = checksums_of_tokenizers(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    history = []
    for _ in range(8):
        losses = model(inputs, mode='loss')
        optimizer.zero_grad()
        losses['video_features_loss'].backward()
        optimizer.step()
        history.append(losses['video_features_loss'].item())
    assert not model.tokenizers['tokenizer'].training
    assert checksums_of_tokenizers(model) == before
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert history[0] == pytest.approx(1, abs=0.3) and history[-1] < history[0] - 0.05


def test_clip_targets__the_recipe_fits_clip():
    """Targets of 14 x 14 patches of 768 numbers, one for each pair of frames; the teacher is made small."""
    model = Config.fromfile(FOLDER / 'config.py').model
    assert model.tokenizer.pop('weights').endswith('.safetensors')
    model.tokenizer.update(random_weights=True, arguments=dict(depth=1))
    model.backbone.update(embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2))
    model = MODELS.build(model)
    frames = torch.randint(256, (1, 3, 2, 224, 224), dtype=torch.uint8)
    inputs = model.data_preprocessor(dict(video=dict(inputs=[frames])))['inputs']
    targets = model.tokenize('video', inputs['video'], torch.ones(1, 1, 14, 14, dtype=torch.bool))
    assert targets['tokenizer'].tokens.shape == (1, 1, 14, 14, 768)
