"""The contract of a masker, checked."""
from __future__ import annotations

import random

import torch

from ..models.maskers.base import Grid, Masker


def check_masker(masker: Masker, grid: Grid = (8, 14, 14), num_clips: int = 6) -> None:
    """Check shapes, types, determinism, PAD, the temporal stride and one-frame clips.

    Args:
        masker: the masker.
        grid: ``(t, h, w)`` of the tokens; t a multiple of the masker's ``temporal_stride``.
        num_clips: N.

    Raises:
        AssertionError: with the sentence of the contract that does not hold.
    """
    mask = masker(grid, num_clips, random.Random(0))
    assert mask.shape == (num_clips, *grid), f'a masker returns (N, t, h, w) = {(num_clips, *grid)}, got {tuple(mask.shape)}'
    assert mask.dtype in (torch.bool, torch.int8), f'a mask is bool or int8, got {mask.dtype}'
    assert mask.device.type == 'cpu', 'masks are drawn on the host'
    hidden = mask != 0
    assert hidden.any(), 'a masker hides something'
    assert not hidden.flatten(1).all(1).any(), 'a masker leaves something visible in every clip'
    _check_randomness(masker, grid, num_clips)
    _check_pad(masker, grid, num_clips)
    stride = masker.temporal_stride
    groups = hidden.unflatten(1, (grid[0] // stride, stride))
    assert (groups == groups[:, :, :1]).all(), f'a mask is repeated over temporal_stride={stride} frames'
    image = masker((1, *grid[1:]), num_clips, random.Random(0))
    assert image.shape == (num_clips, 1, *grid[1:]), 'a masker serves images: clips of one frame'


def _check_randomness(masker: Masker, grid: Grid, num_clips: int) -> None:
    random.seed(1)
    torch.manual_seed(1)
    before = (random.getstate(), torch.get_rng_state())
    first = masker(grid, num_clips, random.Random(0))
    again = masker(grid, num_clips, random.Random(0))
    other = masker(grid, num_clips, random.Random(1))
    assert torch.equal(first, again), 'the same rng gives the same mask: the rng is the only source of randomness'
    assert not torch.equal(first, other), 'another rng gives another mask'
    assert random.getstate() == before[0] and torch.equal(torch.get_rng_state(), before[1]), \
        'a masker touches no global source of randomness'


def _check_pad(masker: Masker, grid: Grid, num_clips: int) -> None:
    pad = torch.zeros(num_clips, *grid, dtype=torch.bool)
    pad[::2, grid[0] // 2:] = True
    mask = masker(grid, num_clips, random.Random(0), pad)
    assert not (mask != 0)[pad].any(), 'a position with no video behind it is never masked'
