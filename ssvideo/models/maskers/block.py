"""VIMPAC's masking: a union of cuboids."""
from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor

from ...registry import MODELS
from .base import Grid, Masker

HIDDEN, RANDOM_ID, KEPT = 1, 2, 3  # kinds of a noisy mask, see Masker.sample


@MODELS.register_module()
class BlockMasker(Masker):
    """Hides the union of random cuboids.

    A cuboid's sides are uniform in 1..floor(2t/3), 1..floor(h/2) and 1..floor(w/2) (at least 1), its place uniform
    where it fits. The paper says "2/3 (round up)", but only the floor reproduces its Table 9.

    Args:
        num_blocks: cuboids of a clip.
        noisy: of the cuboids, hide 80 %, fill 10 % with random ids, keep 10 % as they are; all are predicted, and a
            later cuboid overwrites an earlier one (as the authors' code does; the paper may be read as per token).
        temporal_stride: see :class:`Masker`.

    Source: VIMPAC, arXiv:2106.11250, Sec. 3.1, App. B.1, F.3.
    """

    def __init__(self, num_blocks: int = 5, noisy: bool = False, temporal_stride: int = 1) -> None:
        super().__init__(temporal_stride)
        if num_blocks < 1:
            raise ValueError(f'BlockMasker: num_blocks must be at least 1, got {num_blocks}')
        self.num_blocks = num_blocks
        self.noisy = noisy

    def sample(self, grid: Grid, rng: random.Random) -> Tensor:
        """Draw the mask of one clip: ``(t, h, w)`` bool, int8 where ``noisy``."""
        frames, height, width = grid
        mask = np.zeros(grid, dtype=np.int8 if self.noisy else bool)
        for _ in range(self.num_blocks):
            block = (_interval(frames, frames * 2 // 3, rng), _interval(height, height // 2, rng),
                     _interval(width, width // 2, rng))
            mask[block] = _kind(rng) if self.noisy else True
        return torch.from_numpy(mask)


def _interval(size: int, longest: int, rng: random.Random) -> slice:
    length = 1 + int(rng.random() * max(1, longest))  # five times as fast as randint, and there are 30 a clip
    start = int(rng.random() * (size - length + 1))
    return slice(start, start + length)


def _kind(rng: random.Random) -> int:
    draw = rng.random()
    if draw < 0.8:  # shares of BERT: 80 % [MASK], 10 % random, 10 % kept
        return HIDDEN
    return RANDOM_ID if draw < 0.9 else KEPT
