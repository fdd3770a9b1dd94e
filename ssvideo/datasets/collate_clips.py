"""Batches that reach the main process through shared memory that is used again."""
from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmengine.dataset import pseudo_collate
from torch import Tensor
from torch.utils.data import get_worker_info

from ..registry import FUNCTIONS

FREE, TAKEN = 0, 1


class Handed(NamedTuple):
    """Tensors of one shape in a buffer.

    Args:
        owner: process that wrote them.
        number: of the buffer, among those of the process.
        buffer: shared bytes; the last one says whether the others are free.
        dtype: of the tensors.
        shape: of all of them, stacked, as they lie in the buffer.
        places: of a tensor's dimensions in that order.
    """
    owner: int
    number: int
    buffer: Tensor
    dtype: torch.dtype
    shape: tuple[int, ...]
    places: tuple[int, ...]


class Sender:
    """A process's shared buffers: as many as there are batches on their way, so three or four in a loader's worker."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.buffers: list[Tensor] = []

    def send(self, tensors: Sequence[Tensor]) -> Handed:
        """Copy tensors of one shape and type into a buffer that is free, in the order in which they lie in memory.

        Decoded pixels have their channels last; to sort them by channel takes twenty times as long as to copy them, and a
        GPU does it in passing.
        """
        order = sorted(range(tensors[0].dim()), key=tensors[0].stride, reverse=True)
        tensors = [tensor.permute(order) for tensor in tensors]
        shape, dtype = (len(tensors), *tensors[0].shape), tensors[0].dtype
        size = sum(tensor.nbytes for tensor in tensors)
        fitting = [i for i, buffer in enumerate(self.buffers) if buffer[-1] == FREE and len(buffer) > size]
        if not fitting:
            fitting = [len(self.buffers)]
            self.buffers.append(torch.zeros(size + 1, dtype=torch.uint8).share_memory_())
        number = min(fitting, key=lambda i: len(self.buffers[i]))
        buffer = self.buffers[number]
        torch.stack(tensors, out=buffer[:size].view(dtype).view(shape))
        buffer[-1] = TAKEN
        return Handed(self.pid, number, buffer, dtype, shape, tuple(order.index(dim) for dim in range(len(order))))


_sender: Sender | None = None
_mapped: dict[tuple[int, int], Tensor] = {}
"""Buffers of others by process and number: as long as they are here, torch does not map them anew."""


def receive(handed: Handed) -> list[Tensor]:
    """Copy tensors out of a buffer, and set it free."""
    key = handed.owner, handed.number
    if _mapped.get(key) is not handed.buffer:
        for other in [other for other in list(_mapped) if not _is_alive(other[0])]:
            _mapped.pop(other, None)
        _mapped[key] = handed.buffer
    shape = torch.Size(handed.shape)
    copy = handed.buffer[:shape.numel() * handed.dtype.itemsize].clone()
    handed.buffer[-1] = FREE
    return [tensor.permute(handed.places) for tensor in copy.view(handed.dtype).view(shape)]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # the number is another user's process by now
        pass
    return True


class _OnItsWay(list):
    """Tensors of one shape that arrive in the main process as a plain list."""

    def __reduce__(self):
        global _sender
        if _sender is None or _sender.pid != os.getpid():
            _sender = Sender()
        return receive, (_sender.send(self),)


@FUNCTIONS.register_module()
def collate_clips(items: Sequence[dict]) -> dict:
    """Collate as mmengine's ``pseudo_collate``, for a loader whose workers give much data: clips of pixels.

    A worker hands over each tensor in fresh shared memory, whose pages the kernel must find and clear; for a
    clip of 16 x 224 x 224 that takes longer than to crop it. Here buffers are used again: the main process copies a batch out
    and sets its buffer free. What it gets is the same.

    Args:
        items: of a data set, alike; tensors of one key that differ in shape or type go the usual way.

    Returns:
        A list for each key.
    """
    batch = pseudo_collate(items)
    if get_worker_info() is None:
        return batch
    return {key: _OnItsWay(values) if _are_alike(values) else values for key, values in batch.items()}


def _are_alike(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, Tensor) for value in values) \
        and len({(value.shape, value.dtype, value.layout) for value in values}) == 1 and values[0].numel() > 0
