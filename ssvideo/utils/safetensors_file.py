"""Safetensors files: tensors, and text by name beside them."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from .files import write_whole


def write_safetensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a file, whole or not at all.

    Args:
        path: the file; its folder is made.
        tensors: by name; of tied weights each name gets its own copy.
        metadata: text by name.
    """
    copies = {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
    write_whole(path, save(copies, dict(metadata)))


def read_safetensors(path: str | Path, with_tensors: bool = True) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Read a file's metadata, and its tensors onto the CPU.

    Args:
        path: the file.
        with_tensors: ``False`` reads the metadata only.

    Returns:
        The metadata and the tensors, both by name.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no whole safetensors file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'there is no file {path}')
    try:
        with safe_open(path, framework='pt') as file:
            names = file.keys() if with_tensors else ()
            return file.metadata() or {}, {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise ValueError(f'{path} is not a whole safetensors file ({error}): make it again') from error
