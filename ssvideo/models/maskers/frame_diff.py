"""BEVT's ablation in which every covered frame hides other blocks."""
from __future__ import annotations

import random

from torch import Tensor

from ...registry import MODELS
from .base import Grid, Masker
from .frame_blocks import FrameBlocks


@MODELS.register_module()
class FrameDiffMasker(Masker):
    """Covers the frames that a tube would, and hides BEiT blocks on each of them that are drawn anew.

    Args:
        mask_ratio: see :class:`TubeMasker`.
        tube_length: see :class:`TubeMasker`.
        min_block: see :class:`TubeMasker`.
        aspect: see :class:`TubeMasker`.
        wrap: see :class:`TubeMasker`.
        temporal_stride: see :class:`Masker`; BEVT: 2.

    Raises:
        ValueError: if an argument is out of range.

    Source: BEVT, arXiv:2112.01529, Sec. 4.3 and Table 8 ("Frame-Diff").
    """

    def __init__(self, mask_ratio: float = 0.5, tube_length: tuple[float, float] = (0.5, 1.0), min_block: int = 16,
                 aspect: float = 0.3, wrap: bool = True, temporal_stride: int = 1) -> None:
        super().__init__(temporal_stride)
        self.blocks = FrameBlocks(mask_ratio, tube_length, min_block, aspect)
        self.wrap = wrap

    def sample(self, grid: Grid, rng: random.Random) -> Tensor:
        """Draw the mask of one clip: ``(t, h, w)`` bool."""
        frames = self.blocks.draw_tube(grid[0], self.wrap, rng)
        return self.blocks.hide([[frame] for frame in frames], grid, rng)
