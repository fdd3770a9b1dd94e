"""BEVT's masking: one mask of BEiT blocks, the same on consecutive frames."""
from __future__ import annotations

import math
import random

import torch
from torch import Tensor

from ...registry import MODELS
from .base import Grid, Masker
from .beit_blocks import draw_beit_blocks


def draw_tube_frames(num_frames: int, tube_length: tuple[float, float], wrap: bool, rng: random.Random) -> list[int]:
    """Draw which frames a tube covers.

    Args:
        num_frames: frames of the clip, T'.
        tube_length: smallest and largest length as shares of T'; a length is uniform among the whole numbers between.
        wrap: start uniform in [0, T') and go round the end of the clip; otherwise start uniform where the tube fits.
        rng: the only source of randomness.

    Returns:
        Indices of the covered frames.
    """
    # rounding to 6 digits keeps 0.07 * 100 = 7.000000000000001 from becoming 8
    shortest = max(1, math.ceil(round(tube_length[0] * num_frames, 6)))
    longest = max(shortest, math.floor(round(tube_length[1] * num_frames, 6)))
    length = rng.randint(shortest, longest)
    start = rng.randrange(num_frames if wrap else num_frames - length + 1)
    return [(start + step) % num_frames for step in range(length)]


@MODELS.register_module()
class TubeMasker(Masker):
    """Hides the same BEiT blocks on a run of consecutive frames; on one frame it is BEiT's image masker.

    Args:
        mask_ratio: share of a covered frame to hide, in (0, 1).
        tube_length: smallest and largest share of the clip's frames that are covered.
        min_block: smallest area of a block, in tokens; at most half of what is to be hidden on tiny maps.
        aspect: smallest aspect ratio of a block, in (0, 1]; the largest is its inverse.
        wrap: let the tube go round the end of the clip (as BEVT's code does, the paper is silent); otherwise it
            starts where it fits.
        temporal_stride: see :class:`Masker`; BEVT: 2.

    Source: BEVT, arXiv:2112.01529, Sec. 3 and Table 8; BEiT, arXiv:2106.08254, Algorithm 1.
    """

    def __init__(self, mask_ratio: float = 0.5, tube_length: tuple[float, float] = (0.5, 1.0), min_block: int = 16,
                 aspect: float = 0.3, wrap: bool = True, temporal_stride: int = 1) -> None:
        super().__init__(temporal_stride)
        if not 0 < mask_ratio < 1:
            raise ValueError(f'TubeMasker: mask_ratio must lie between 0 and 1, got {mask_ratio}')
        if len(tube_length) != 2 or not 0 < tube_length[0] <= tube_length[1] <= 1:
            raise ValueError('TubeMasker: tube_length must be (smallest, largest) share of the clip with '
                             f'0 < smallest <= largest <= 1, got {tube_length}')
        if min_block < 1:
            raise ValueError(f'TubeMasker: min_block must be at least 1 token, got {min_block}')
        if not 0 < aspect <= 1:
            raise ValueError(f'TubeMasker: aspect is the smallest aspect ratio, in (0, 1], got {aspect}')
        self.mask_ratio = mask_ratio
        self.tube_length = tuple(tube_length)
        self.min_block = min_block
        self.aspect = aspect
        self.wrap = wrap

    def sample(self, grid: Grid, rng: random.Random) -> Tensor:
        """Draw the mask of one clip: ``(t, h, w)`` bool."""
        mask = torch.zeros(grid, dtype=torch.bool)
        frames = draw_tube_frames(grid[0], self.tube_length, self.wrap, rng)
        mask[frames] = torch.from_numpy(self.sample_frame(grid[1], grid[2], rng))
        return mask

    def sample_frame(self, height: int, width: int, rng: random.Random):
        """Draw the mask of one frame: ``(h, w)`` numpy bool."""
        return draw_beit_blocks(height, width, self.mask_ratio, self.min_block, self.aspect, rng)
