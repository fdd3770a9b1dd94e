"""Weights that another program saved, read as data."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .safetensors_file import read_safetensors

WRAPPERS = ('state_dict', 'model', 'model_state_dict', 'module')
"""Keys under which training programs keep their weights beside other things."""


@dataclass
class ForeignWeights:
    """What a file holds.

    Args:
        path: the file.
        tensors: weights by name, without the ``module.`` of a distributed wrapper.
        facts: what stands beside them: the metadata of a safetensors file, the other entries of a saved dict.
    """
    path: Path
    tensors: dict[str, Tensor]
    facts: dict

    def fact(self, *words: str):
        """The first value beside the weights, at any depth, whose key is one of some words; ``None`` without one."""
        return _find(self.facts, words)


def read_weights(path: str | Path) -> ForeignWeights:
    """Read a state dict, plain or under one of :data:`WRAPPERS`, without executing anything that the file names.

    Args:
        path: ``.safetensors``; any other name is read as a file of ``torch.save``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is broken, needs more than tensors and built-ins, or holds no weights.
    """
    if str(path).endswith('.safetensors'):
        facts, tensors = read_safetensors(path)
    else:
        facts, tensors = _unwrap(path, _load_plain(path))
    if not tensors:
        raise ValueError(f'{path} holds no weights')
    return ForeignWeights(Path(path), {name.removeprefix('module.'): value for name, value in tensors.items()}, facts)


def _load_plain(path: str | Path):
    if not Path(path).is_file():
        raise FileNotFoundError(f'there is no file {path}')
    try:
        return torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # torch raises errors of many types for broken files
        reason = next((line.strip() for line in str(error).splitlines() if 'GLOBAL' in line), str(error).split('\n')[0])
        raise ValueError(f'{path} is not a file of plain tensors and built-ins: nothing in it was executed. If you trust '
                         f'it, save its state dict by itself and convert that. ({reason})') from error


def _unwrap(path: str | Path, content) -> tuple[dict, dict[str, Tensor]]:
    """What stands beside the weights, and the weights."""
    if not isinstance(content, Mapping):
        raise ValueError(f'{path} holds a {type(content).__name__}, expected a state dict')
    weights = content
    for key in WRAPPERS:
        if isinstance(content.get(key), Mapping):
            weights = content[key]
            break
    tensors = {name: value for name, value in weights.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ValueError(f'{path} holds {sorted(map(str, content))[:6]} and no tensors, neither by themselves nor under one '
                         f'of {WRAPPERS}: save the state dict by itself')
    beside = {key: value for key, value in content.items() if value is not weights and not isinstance(value, Tensor)}
    return beside, tensors


def _find(facts, words: tuple[str, ...]):
    if not isinstance(facts, Mapping):
        return None
    for word in words:
        if facts.get(word) is not None:
            return facts[word]
    return next((found for value in facts.values() if (found := _find(value, words)) is not None), None)
