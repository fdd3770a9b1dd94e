"""Checkpoints of plain tensors and built-ins.

mmengine puts ``HistoryBuffer`` objects into a checkpoint, which torch >= 2.6 refuses to read back, so that a run cannot
resume (open-mmlab/mmengine#1655). They are saved as tensors and rebuilt after loading.
"""
from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log


def plain(value, place: str):
    """The same value in tensors and built-ins.

    Args:
        value: anything that a checkpoint may hold; dicts, lists and tuples are gone through.
        place: where it stands, for the warning.

    Returns:
        Numbers and arrays of numpy as Python's and torch's; an object of another kind as its text, with a warning.
    """
    if isinstance(value, np.generic):  # first of all: numpy's float64 calls itself a float
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str, bytes, torch.Tensor)):
        return value
    if isinstance(value, Mapping):
        return {key: plain(inner, f'{place}.{key}') for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(plain(inner, place) for inner in value)
    if isinstance(value, np.ndarray):
        return torch.as_tensor(value)
    print_log(f'the checkpoint keeps {place} as text, since it is a {type(value).__name__}', 'current', logging.WARNING)
    return str(value)


def to_plain(checkpoint: dict) -> None:
    """Turn everything in a checkpoint of mmengine's runner into tensors and built-ins."""
    hub = checkpoint['message_hub']
    hub['log_scalars'] = {name: dict(log=torch.as_tensor(buffer.data[0]), count=torch.as_tensor(buffer.data[1]))
                          for name, buffer in hub['log_scalars'].items()}
    for key, value in checkpoint.items():
        checkpoint[key] = plain(value, key)


def to_runtime(checkpoint: dict) -> None:
    """Rebuild the log buffers that mmengine expects in a checkpoint."""
    buffers = checkpoint.get('message_hub', {}).get('log_scalars', {})
    for name, saved in buffers.items():
        if isinstance(saved, dict):
            buffers[name] = HistoryBuffer(saved['log'].numpy(), saved['count'].numpy())
