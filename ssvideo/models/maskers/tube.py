"""BEVT's masking: one mask of BEiT blocks, the same on consecutive frames."""
from __future__ import annotations

import random

from torch import Tensor

from ...registry import MODELS
from .base import Grid, Masker
from .frame_blocks import FrameBlocks


@MODELS.register_module()
class TubeMasker(Masker):
    """Hides the same BEiT blocks on a run of consecutive frames; on one frame it is BEiT's image masker.

    Args:
        mask_ratio: share of a covered frame to hide, in (0, 1).
        tube_length: smallest and largest share of the clip's frames that are covered; their number is uniform.
        min_block: smallest area of a block, in tokens; at most half of what is to be hidden on tiny maps.
        aspect: smallest aspect ratio of a block, in (0, 1]; the largest is its inverse.
        wrap: let the tube go round the end of the clip (as BEVT's code does, the paper is silent); otherwise it
            starts where it fits.
        temporal_stride: see :class:`Masker`; BEVT: 2.

    Raises:
        ValueError: if an argument is out of range.

    Source: BEVT, arXiv:2112.01529, Sec. 3 and Table 8; BEiT, arXiv:2106.08254, Algorithm 1.
    """

    def __init__(self, mask_ratio: float = 0.5, tube_length: tuple[float, float] = (0.5, 1.0), min_block: int = 16,
                 aspect: float = 0.3, wrap: bool = True, temporal_stride: int = 1) -> None:
        super().__init__(temporal_stride)
        self.blocks = FrameBlocks(mask_ratio, tube_length, min_block, aspect)
        self.wrap = wrap

    def sample(self, grid: Grid, rng: random.Random) -> Tensor:
        """Draw the mask of one clip: ``(t, h, w)`` bool."""
        return self.blocks.hide([self.blocks.draw_tube(grid[0], self.wrap, rng)], grid, rng)
