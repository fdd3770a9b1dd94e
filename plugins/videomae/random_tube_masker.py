"""VideoMAE's masking: the same random cells in all frames."""
from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor

from ssvideo.models.maskers import Masker
from ssvideo.registry import MODELS

Grid = tuple[int, int, int]


@MODELS.register_module()
class RandomTubeMasker(Masker):
    """Hides the same cells in all frames, in each clip exactly ``floor(mask_ratio * h * w)`` of them.

    Every cell is as likely as another. At least one is hidden and one visible, whatever the ratio.

    Args:
        mask_ratio: share of the cells of a frame to hide, in (0, 1).
        temporal_stride: see :class:`Masker`; without effect, as all frames are masked alike.

    Raises:
        ValueError: if an argument is out of range.

    Source: VideoMAE, arXiv:2203.12602, Sec. 3.3.
    """

    def __init__(self, mask_ratio: float = 0.9, temporal_stride: int = 1) -> None:
        super().__init__(temporal_stride)
        if not 0 < mask_ratio < 1:
            raise ValueError(f'RandomTubeMasker: mask_ratio must lie between 0 and 1, got {mask_ratio}')
        self.mask_ratio = mask_ratio

    def sample(self, grid: Grid, rng: random.Random) -> Tensor:
        """Draw the mask of one clip: ``(t, h, w)`` bool."""
        frames, height, width = grid
        cells = height * width
        num_hidden = min(max(1, int(self.mask_ratio * cells)), cells - 1)
        mask = np.zeros(cells, dtype=bool)
        mask[rng.sample(range(cells), num_hidden)] = True
        return torch.from_numpy(np.repeat(mask.reshape(1, height, width), frames, axis=0))
