from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from ssvideo.models.layers.perceptual import PerceptualNetwork

VIT = dict(name='vit_tiny_patch16_224.augreg_in21k',
           arguments=dict(img_size=32, patch_size=8, embed_dim=24, depth=4, num_heads=3))
RESNET = dict(name='resnet18')


def pictures_of(seed: int, size: int = 32) -> torch.Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(seed))


def timm_network(name: str, arguments: dict | None = None, num_classes: int = 7) -> nn.Module:
    torch.manual_seed(3)
    return timm.create_model(name, num_classes=num_classes, **(arguments or {})).eval()


def distance_by_hand(maps: list[torch.Tensor], others: list[torch.Tensor]) -> float:
    """Position by position, in double precision."""
    depths = []
    for one, two in zip(maps, others):
        positions = []
        for picture, other in zip(one.double(), two.double()):
            for y in range(picture.shape[1]):
                for x in range(picture.shape[2]):
                    a, b = picture[:, y, x], other[:, y, x]
                    positions.append(((a / a.norm() - b / b.norm()) ** 2).sum().item())
        depths.append(sum(positions) / len(positions))
    return sum(depths) / len(depths)


def normalised(pictures: torch.Tensor, mean: list[float], std: list[float]) -> torch.Tensor:
    return torch.stack([(pictures[:, i] - mean[i]) / std[i] for i in range(3)], dim=1)


@torch.no_grad()
def vit_maps(network: nn.Module, inputs: torch.Tensor, layers: tuple[int, ...]) -> list[torch.Tensor]:
    """What the blocks put out, without the class token, as maps."""
    found = {}
    hooks = [network.blocks[i].register_forward_hook(lambda _, args, out, i=i: found.update({i: out})) for i in layers]
    network(inputs)
    for hook in hooks:
        hook.remove()
    return [found[i][:, 1:].transpose(1, 2).unflatten(2, (4, 4)) for i in layers]


def test_perceptual__is_the_distance_by_hand_for_a_vit(tmp_path):
    network = timm_network(**VIT)
    torch.save(network.state_dict(), tmp_path / 'vit.pth')
    ours = PerceptualNetwork(**VIT, layers=(1, 3), weights=tmp_path / 'vit.pth')
    one, two = pictures_of(0), pictures_of(1)
    half = [0.5] * 3  # what this tag was trained with
    expected = distance_by_hand(*(vit_maps(network, normalised(x, half, half), (1, 3)) for x in (one, two)))
    assert expected > 0.01
    assert ours(one, two).item() == pytest.approx(expected, rel=1e-4)
    assert ours(one, one).item() == 0


def test_perceptual__is_the_distance_by_hand_for_a_resnet(tmp_path):
    network = timm_network(**RESNET)
    save_file(network.state_dict(), tmp_path / 'resnet.safetensors')
    ours = PerceptualNetwork(**RESNET, layers=(0, 2, 3), weights=tmp_path / 'resnet.safetensors')
    reference = timm.create_model('resnet18', features_only=True, out_indices=(0, 2, 3)).eval()
    reference.load_state_dict({k: v for k, v in network.state_dict().items() if not k.startswith('fc.')}, strict=False)
    one, two = pictures_of(0), pictures_of(1)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    with torch.no_grad():
        expected = distance_by_hand(*(reference(normalised(x, mean, std)) for x in (one, two)))
    assert expected > 0.01
    assert ours(one, two).item() == pytest.approx(expected, rel=1e-4)


def test_perceptual__is_frozen_and_gradients_reach_the_pictures_alone():
    network = PerceptualNetwork(**RESNET, layers=(1, 2), random_weights=True)
    around = nn.ModuleList([network]).train()
    statistics = network.network.bn1.running_mean.clone()
    pictures, targets = pictures_of(0).requires_grad_(), pictures_of(1).requires_grad_()
    network(pictures, targets).backward()
    assert pictures.grad.abs().max() > 0 and targets.grad is None
    assert around.training and not any(module.training for module in network.modules())
    assert not any(p.requires_grad for p in network.parameters())
    assert torch.equal(network.network.bn1.running_mean, statistics)


def test_perceptual__gradient_is_bounded_where_features_vanish():
    network = PerceptualNetwork(**RESNET, layers=(0,), random_weights=True)
    network.network.bn1.bias.fill_(-100.0)  # ReLU leaves nothing
    pictures = pictures_of(0).requires_grad_()
    distance = network(pictures, pictures_of(1))
    distance.backward()
    assert distance.item() == 0 and pictures.grad.isfinite().all()


def test_perceptual__random_weights_are_the_same_everywhere_and_leave_the_generator_alone():
    with pytest.raises(ValueError, match='random_weights=True to measure with an untrained network'):
        PerceptualNetwork(**VIT, layers=(1,))
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    first = PerceptualNetwork(**VIT, layers=(1,), random_weights=True)
    assert torch.equal(torch.rand(2), expected)
    second = PerceptualNetwork(**VIT, layers=(1,), random_weights=True)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters()))
    with pytest.raises(ValueError, match='random_weights=True'):
        PerceptualNetwork(**VIT, layers=(1,), weights='some.pth', random_weights=True)


def test_perceptual__stays_out_of_checkpoints():
    model = nn.ModuleDict(dict(head=nn.Linear(2, 2), perceptual=PerceptualNetwork(**VIT, layers=(1,), random_weights=True)))
    state = model.state_dict()
    assert set(state) == {'head.weight', 'head.bias'}
    model.load_state_dict(state)  # strictly
    assert len(model.perceptual.network.blocks) == 2, 'blocks behind the last depth are not computed'


@pytest.mark.parametrize('wrap', [
    lambda weights: weights,
    lambda weights: dict(state_dict={f'backbone.{key}': value for key, value in weights.items()} | {'neck.w': torch.ones(1)}),
    lambda weights: dict(state_dict={f'module.backbone.{key}': value for key, value in weights.items()}, epoch=3)])
def test_perceptual__reads_state_dicts_of_every_kind(tmp_path, wrap):
    weights = timm_network(**VIT).state_dict()
    torch.save(wrap(weights), tmp_path / 'file.pth')
    prefix = '' if wrap(weights) is weights else 'backbone.'
    network = PerceptualNetwork(**VIT, layers=(3,), weights=tmp_path / 'file.pth', prefix=prefix)
    assert torch.equal(network.network.blocks[2].mlp.fc1.weight, weights['blocks.2.mlp.fc1.weight'])


def broken_files(folder: Path, weights: dict) -> dict[str, Path]:
    files = {name: folder / f'{name}.pth' for name in ('missing', 'extra', 'shape', 'cut')}
    torch.save({key: value for key, value in weights.items() if key != 'pos_embed'}, files['missing'])
    torch.save(weights | {'blocks.9.norm1.weight': torch.ones(24)}, files['extra'])
    torch.save(weights | {'cls_token': torch.ones(1, 1, 25)}, files['shape'])
    torch.save(weights, folder / 'whole.pth')
    files['cut'].write_bytes((folder / 'whole.pth').read_bytes()[:1000])
    return files


def test_perceptual__says_what_is_wrong_with_a_file(tmp_path):
    files = broken_files(tmp_path, timm_network(**VIT).state_dict())
    for kind, message in dict(missing=r'1 missing \(pos_embed\)', extra=r'1 unexpected \(blocks.9.norm1.weight\)',
                              shape=r'1 of another shape \(cls_token \(1, 1, 25\), expected \(1, 1, 24\)\)',
                              cut='no whole safetensors file or plain state dict').items():
        with pytest.raises(ValueError, match=message):
            PerceptualNetwork(**VIT, layers=(1,), weights=files[kind])
    with pytest.raises(ValueError, match=r"no weight begins with prefix='backbone.'; found \['blocks"):
        PerceptualNetwork(**VIT, layers=(1,), weights=tmp_path / 'whole.pth', prefix='backbone.')
    with pytest.raises(FileNotFoundError, match='there is no file of weights'):
        PerceptualNetwork(**VIT, layers=(1,), weights=tmp_path / 'none.pth')
    with pytest.raises(ValueError, match="timm has no network 'vit_of_nobody'"):
        PerceptualNetwork('vit_of_nobody', layers=(1,), random_weights=True)
