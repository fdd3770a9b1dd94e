"""Cells that are hidden in every frame."""
from __future__ import annotations

import random

import torch
from torch import Tensor

from ssvideo.models.maskers import Masker
from ssvideo.models.maskers.base import Grid
from ssvideo.registry import MODELS


@MODELS.register_module()
class MyPlugin(Masker):
    """Hides the same cells in all frames, so that nothing can be copied from the frame before.

    Args:
        mask_ratio: share of the cells that is hidden, in (0, 1); the number is exact.
        temporal_stride: see :class:`~ssvideo.models.maskers.Masker`.

    Raises:
        ValueError: if ``mask_ratio`` cannot be used.

    Source: VideoMAE, arXiv:2203.12602, Sec. 3.3 (tube masking).
    """

    def __init__(self, mask_ratio: float = 0.75, temporal_stride: int = 1) -> None:
        super().__init__(temporal_stride)
        if not 0 < mask_ratio < 1:
            raise ValueError(f'MyPlugin: mask_ratio must lie between 0 and 1, got {mask_ratio}')
        self.mask_ratio = mask_ratio

    def sample(self, grid: Grid, rng: random.Random) -> Tensor:
        """Draw the mask of one clip: ``(t, h, w)`` bool."""
        frames, height, width = grid
        num_cells = height * width
        num_hidden = min(max(round(self.mask_ratio * num_cells), 1), num_cells - 1)
        mask = torch.zeros(num_cells, dtype=torch.bool)
        mask[rng.sample(range(num_cells), num_hidden)] = True
        return mask.view(1, height, width).repeat(frames, 1, 1)
