"""V-JEPA's masking: blocks that span the whole clip."""
from __future__ import annotations

import math
import random

import numpy as np
import torch
from torch import Tensor

from ssvideo.models.maskers import Masker
from ssvideo.registry import MODELS

Grid = tuple[int, int, int]
NUM_ATTEMPTS = 100  # ours; the published code draws for ever where blocks always cover everything


@MODELS.register_module()
class MultiBlockMasker(Masker):
    """Hides the union of some rectangles of one size, the same in all frames.

    The aspect ratio is uniform in its range, the places are uniform where the rectangle fits. A mask that would hide
    everything is drawn again; where that does not help, one random cell is left visible.

    Args:
        num_blocks: rectangles; V-JEPA: 8 for its short-range masks, 2 for its long-range ones.
        scale: share of a frame that a rectangle covers, in (0, 1]; V-JEPA: 0.15 and 0.7.
        aspect: smallest and largest height over width.
        temporal_stride: see :class:`Masker`; without effect, as all frames are masked alike.

    Raises:
        ValueError: if an argument is out of range.

    Source: V-JEPA, arXiv:2404.08471, Sec. 3.2; the size drawn for each clip, in the published code for each batch.
    """

    def __init__(self, num_blocks: int, scale: float, aspect: tuple[float, float] = (0.75, 1.5),
                 temporal_stride: int = 1) -> None:
        super().__init__(temporal_stride)
        if num_blocks < 1:
            raise ValueError(f'MultiBlockMasker: num_blocks must be at least 1, got {num_blocks}')
        if not 0 < scale <= 1:
            raise ValueError(f'MultiBlockMasker: scale is a share of a frame, in (0, 1], got {scale}')
        if not 0 < aspect[0] <= aspect[1]:
            raise ValueError(f'MultiBlockMasker: aspect must be a range (smallest, largest) above 0, got {tuple(aspect)}')
        self.num_blocks = num_blocks
        self.scale = scale
        self.aspect = tuple(aspect)

    def sample(self, grid: Grid, rng: random.Random) -> Tensor:
        """Draw the mask of one clip: ``(t, h, w)`` bool."""
        frames, height, width = grid
        rows, columns = self.draw_size(height, width, rng)
        for _ in range(NUM_ATTEMPTS):
            mask = np.zeros((height, width), dtype=bool)
            for _ in range(self.num_blocks):
                top, left = rng.randint(0, height - rows), rng.randint(0, width - columns)
                mask[top:top + rows, left:left + columns] = True
            if not mask.all():
                break
        else:
            mask[rng.randrange(height), rng.randrange(width)] = False
        return torch.from_numpy(np.repeat(mask[None], frames, axis=0))

    def draw_size(self, height: int, width: int, rng: random.Random) -> tuple[int, int]:
        """Rows and columns of the rectangles of one clip, at least 1 and at most the frame's."""
        area, aspect = int(height * width * self.scale), rng.uniform(*self.aspect)
        rows, columns = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        return min(max(rows, 1), height), min(max(columns, 1), width)
