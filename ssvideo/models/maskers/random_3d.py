"""Independent masking of every token: the ablation of both papers."""
from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor

from ...registry import MODELS
from .base import Grid, Masker


@MODELS.register_module()
class Random3DMasker(Masker):
    """Hides every token independently with the same probability.

    ``mask_ratio`` is the expected share, not the exact one: VIMPAC's Eq. 2 draws a uniform number for each token and
    calls its threshold "the expectation of masked-token ratio"; BEVT's "Random-3D" is described alike.

    Args:
        mask_ratio: probability of a token to be hidden, in (0, 1).
        temporal_stride: see :class:`Masker`.

    Source: VIMPAC, arXiv:2106.11250, Eq. 2 and Table 4; BEVT, arXiv:2112.01529, Table 8.
    """

    def __init__(self, mask_ratio: float = 0.5, temporal_stride: int = 1) -> None:
        super().__init__(temporal_stride)
        if not 0 < mask_ratio < 1:
            raise ValueError(f'Random3DMasker: mask_ratio must lie between 0 and 1, got {mask_ratio}')
        self.mask_ratio = mask_ratio

    def sample(self, grid: Grid, rng: random.Random) -> Tensor:
        """Draw the mask of one clip: ``(t, h, w)`` bool."""
        frames, height, width = grid
        draws = np.frombuffer(rng.randbytes(4 * frames * height * width), dtype='<u4')  # one uniform number per token
        return torch.from_numpy(draws < self.mask_ratio * 2**32).view(grid)
