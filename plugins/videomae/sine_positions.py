"""Positions that are computed, not learned."""
from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

Grid = tuple[int, int, int]
Kind = Literal['flat', 'axes']
KINDS = ('flat', 'axes')
BASE = 10000  # arXiv:1706.03762, Sec. 3.5


def sine_positions(kind: Kind, grid: Grid, dims: int, device: torch.device) -> Tensor:
    """Sines and cosines of the places of a grid, made once for each grid.

    Args:
        kind: ``'flat'``, one number for each place, counted through the grid, sines and cosines taking turns (VideoMAE);
            ``'axes'``, a third of the channels for each axis, first its sines, then its cosines (V-JEPA).
        grid: ``(t, h, w)``.
        dims: C, even.
        device: of the table.

    Returns:
        ``(t * h * w, C)`` float32, to be read only.

    Raises:
        ValueError: for another kind or an odd C.

    Source: arXiv:1706.03762, Sec. 3.5; VideoMAE, arXiv:2203.12602, and V-JEPA, arXiv:2404.08471, published code.
    """
    if kind not in KINDS:
        raise ValueError(f'positions must be one of {KINDS}, got {kind!r}')
    if dims % 2:
        raise ValueError(f'positions of sines and cosines need an even number of channels, got {dims}')
    if torch.compiler.is_compiling():  # what a graph computes it need not fetch from a cache
        return _compute(kind, grid, dims).to(device)
    return _cached(kind, tuple(grid), dims, str(device))


@lru_cache(maxsize=32)
def _cached(kind: Kind, grid: Grid, dims: int, device: str) -> Tensor:
    # not an inference tensor, even when first made while evaluating: a training step will use it
    with torch.inference_mode(False), torch.no_grad():
        return _compute(kind, grid, dims).to(device)


def _compute(kind: Kind, grid: Grid, dims: int) -> Tensor:
    return (_flat(math.prod(grid), dims) if kind == 'flat' else _by_axis(grid, dims)).float()


def _flat(num: int, dims: int) -> Tensor:
    angles = _angles(torch.arange(num), dims)  # (num, C / 2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def _by_axis(grid: Grid, dims: int) -> Tensor:
    share = 2 * math.ceil(dims / 6)  # an even number; what is too much is cut off
    parts = []
    for axis, size in enumerate(grid):
        angles = _angles(torch.arange(size), share)
        part = torch.cat([angles.sin(), angles.cos()], dim=-1)  # (size, share)
        shape = [size if i == axis else 1 for i in range(3)]
        parts.append(part.view(*shape, share).expand(*grid, share))
    return torch.cat(parts, dim=-1)[..., :dims].flatten(0, 2)


def _angles(places: Tensor, dims: int) -> Tensor:
    frequencies = BASE ** (-torch.arange(0, dims, 2, dtype=torch.float64) / dims)
    return places.double()[:, None] * frequencies
