"""BEiT blocks on some frames of a clip: what BEVT's tube, frame-diff and random-frame masks are made of."""
from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .base import Grid
from .beit_blocks import draw_beit_blocks


@dataclass(frozen=True)
class FrameBlocks:
    """How much of a clip is hidden: on how many of its frames, and how much of each. Which frames is the masker's choice.

    Args:
        mask_ratio: share of a covered frame to hide, in (0, 1).
        tube_length: smallest and largest share of the clip's frames that are covered.
        min_block: smallest area of a block, in tokens; at most half of what is to be hidden on tiny maps.
        aspect: smallest aspect ratio of a block, in (0, 1]; the largest is its inverse.

    Raises:
        ValueError: if an argument is out of range.

    Source: BEiT, arXiv:2106.08254, Algorithm 1; BEVT, arXiv:2112.01529, Sec. 3 and Table 8.
    """
    mask_ratio: float
    tube_length: tuple[float, float]
    min_block: int
    aspect: float

    def __post_init__(self) -> None:
        if not 0 < self.mask_ratio < 1:
            raise ValueError(f'mask_ratio must lie between 0 and 1, got {self.mask_ratio}')
        if len(self.tube_length) != 2 or not 0 < self.tube_length[0] <= self.tube_length[1] <= 1:
            raise ValueError('tube_length must be (smallest, largest) share of the clip with '
                             f'0 < smallest <= largest <= 1, got {self.tube_length}')
        if self.min_block < 1:
            raise ValueError(f'min_block must be at least 1 token, got {self.min_block}')
        if not 0 < self.aspect <= 1:
            raise ValueError(f'aspect is the smallest aspect ratio, in (0, 1], got {self.aspect}')

    def draw_length(self, num_frames: int, rng: random.Random) -> int:
        """Draw how many of some frames are covered: uniform among the whole numbers in ``tube_length``, at least 1."""
        # rounding to 6 digits keeps 0.07 * 100 = 7.000000000000001 from becoming 8
        shortest = max(1, math.ceil(round(self.tube_length[0] * num_frames, 6)))
        longest = max(shortest, math.floor(round(self.tube_length[1] * num_frames, 6)))
        return rng.randint(shortest, longest)

    def draw_tube(self, num_frames: int, wrap: bool, rng: random.Random) -> list[int]:
        """Draw a run of frames.

        Args:
            num_frames: frames of the clip.
            wrap: start anywhere, with equal probability, and go round the end of the clip; otherwise where the run fits.
            rng: the only source of randomness.

        Returns:
            Indices of the frames.
        """
        length = self.draw_length(num_frames, rng)
        start = rng.randrange(num_frames if wrap else num_frames - length + 1)
        return [(start + step) % num_frames for step in range(length)]

    def hide(self, groups: Sequence[Sequence[int]], grid: Grid, rng: random.Random) -> Tensor:
        """Draw one frame's blocks for each group, and hide them on all frames of the group.

        Args:
            groups: indices of frames.
            grid: ``(t, h, w)``.
            rng: the only source of randomness.

        Returns:
            ``(t, h, w)`` bool, True = hidden; nothing on frames of no group.
        """
        mask = np.zeros(grid, dtype=bool)
        for frames in groups:
            mask[frames] = draw_beit_blocks(grid[1], grid[2], self.mask_ratio, self.min_block, self.aspect, rng)
        return torch.from_numpy(mask)
