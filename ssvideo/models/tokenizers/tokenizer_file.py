"""Files that hold a tokenizer: safetensors whose metadata names the format and the architecture."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ...utils.safetensors_file import read_safetensors, write_safetensors


def write_tokenizer_file(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a tokenizer file, whole or not at all.

    Args:
        path: the file, ``.safetensors``.
        tensors: weights by name, stored as float32.
        metadata: text by name; ``format`` says who can read the file.
    """
    write_safetensors(path, {name: value.float() for name, value in tensors.items()}, metadata)


def format_of(path: str | Path) -> str | None:
    """The ``format`` that a file's metadata names, ``None`` where it names none.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no whole safetensors file.
    """
    return _read(path, with_tensors=False)[0].get('format')


def read_tokenizer_file(path: str | Path, expected_format: str) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata and the tensors of a file of one format.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no whole safetensors file, or of another format.
    """
    metadata, tensors = _read(path, with_tensors=True)
    if metadata.get('format') != expected_format:
        raise ValueError(f'{path} is not such a tokenizer file: its metadata says format={metadata.get("format")!r}, '
                         f'expected {expected_format!r}. load_tokenizer reads every kind that this package writes; convert '
                         'published weights with "tools/convert_checkpoint.py dalle"')
    return metadata, tensors


def _read(path: str | Path, with_tensors: bool) -> tuple[dict[str, str], dict[str, Tensor]]:
    if not Path(path).is_file():
        raise FileNotFoundError(f'there is no tokenizer file {path}: make one from published weights with '
                                '"tools/convert_checkpoint.py dalle", or train one (configs/tokenizers)')
    return read_safetensors(path, with_tensors)


def take_part(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Remove from ``tensors`` those of one part, ``<name>.*``, and return them without the prefix."""
    keys = [key for key in tensors if key.startswith(f'{name}.')]
    return {key.removeprefix(f'{name}.'): tensors.pop(key) for key in keys}


def build_loaded(part: type[nn.Module], arguments: Mapping, weights: Mapping[str, Tensor], what: str) -> nn.Module:
    """Build a module around given weights, strictly.

    Args:
        part: its class.
        arguments: of the class.
        weights: its state dict.
        what: what the weights are said to be, for the error.

    Raises:
        ValueError: if a weight is missing, left over or of another shape.
        TypeError: if these are not the arguments of the class.
    """
    with torch.device('meta'):
        module = part(**arguments)
    try:
        module.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise ValueError(f'{what} does not hold the weights of {part.__name__}({dict(arguments)}): {error}') from error
    return module.requires_grad_(True)


def refuse_rest(path: str | Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise ``ValueError`` if there are tensors that no part has taken."""
    if tensors:
        raise ValueError(f'{path} holds tensors that belong to no part of a tokenizer: {sorted(tensors)[:4]}')
