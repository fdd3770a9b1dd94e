"""Networks of timm with weights from a file, and from nowhere else."""
from __future__ import annotations

from pathlib import Path

import timm
import torch
from timm.models import load_state_dict
from torch import Tensor, nn


def build_timm_network(owner: str, name: str, weights: str | Path | None, prefix: str = '', random_weights: bool = False,
                       arguments: dict | None = None) -> nn.Module:
    """Build a network without its classification head; nothing is downloaded.

    Args:
        owner: the class that asks, for errors.
        name: of the network in timm.
        weights: file of its weights, ``.safetensors`` or a state dict saved by torch. All must be there, and nothing
            else, except for a classification head.
        prefix: of the network's weights in a file that holds more.
        random_weights: allows ``weights=None``: weights are then drawn from a fixed seed, the same in every run and process.
        arguments: further arguments of ``timm.create_model``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a name that timm does not have, a file that does not hold the weights of this network, or no
            file without ``random_weights``.
    """
    if (weights is None) != random_weights:
        raise ValueError(f'{owner}: got weights={weights!r} and random_weights={random_weights}; give a file of weights of '
                         f'{name}, or random_weights=True to measure with an untrained network')
    if not timm.is_model(name):
        raise ValueError(f'{owner}: timm has no network {name!r}; see timm.list_models("*vit*")')
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = timm.create_model(name, pretrained=False, num_classes=0, **(arguments or {}))
    if weights is not None:
        _load_strictly(network, weights, prefix)
    return network


def _load_strictly(network: nn.Module, path: str | Path, prefix: str) -> None:
    """Load weights of which none may be missing, left over or of another shape, but for a head."""
    found = _read(path)
    weights = {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)}
    if not weights:
        raise ValueError(f'{path}: no weight begins with prefix={prefix!r}; found {sorted(found)[:3]} ...')
    head = network.pretrained_cfg['classifier']
    heads = tuple(f'{name}.' for name in ((head,) if isinstance(head, str) else head))
    own = network.state_dict()
    problems = {
        'missing': [key for key in own if key not in weights],
        'unexpected': [key for key in weights if key not in own and not key.startswith(heads)],
        'of another shape': [f'{key} {tuple(weights[key].shape)}, expected {tuple(own[key].shape)}' for key in own
                             if key in weights and weights[key].shape != own[key].shape]}
    if any(problems.values()):
        described = '; '.join(f'{len(keys)} {kind} ({", ".join(keys[:4])}{" ..." if len(keys) > 4 else ""})'
                              for kind, keys in problems.items() if keys)
        raise ValueError(f'{path} does not hold the weights of {type(network).__name__} with prefix={prefix!r}: {described}. '
                         'Give the name (and arguments) that the weights were trained with, or the prefix they have in the file')
    network.load_state_dict({key: weights[key] for key in own})


def _read(path: str | Path) -> dict[str, Tensor]:
    if not Path(path).is_file():
        raise FileNotFoundError(f'there is no file of weights {path}: give the file of the network')
    try:
        weights = load_state_dict(str(path))
    except Exception as error:  # torch and safetensors raise errors of many types for broken files
        raise ValueError(f'{path} is no whole safetensors file or plain state dict: {str(error).splitlines()[0]}') from error
    return {key: value for key, value in weights.items() if isinstance(value, Tensor)}
