"""The contract of a masker."""
from __future__ import annotations

import random
from abc import ABC, abstractmethod

import torch
from torch import Tensor

Grid = tuple[int, int, int]


class Masker(ABC):
    """Decides which tokens of a clip are hidden and have to be predicted. Has no weights; works on the host.

    An author writes :meth:`sample` for one clip; batches, PAD and the temporal stride are handled here.

    Args:
        temporal_stride: frames of tokens that one mask frame covers. The mask is drawn on ``t / temporal_stride``
            frames and repeated, so that a token is hidden exactly where the patch that shows it is (BEVT: 2).
    """

    def __init__(self, temporal_stride: int = 1) -> None:
        if temporal_stride < 1:
            raise ValueError(f'temporal_stride must be at least 1, got {temporal_stride}')
        self.temporal_stride = temporal_stride

    @abstractmethod
    def sample(self, grid: Grid, rng: random.Random) -> Tensor:
        """Draw the mask of one clip.

        Args:
            grid: ``(t, h, w)``, t already divided by ``temporal_stride``.
            rng: the only source of randomness.

        Returns:
            ``(t, h, w)`` bool, True = hidden; or int8 for noisy masking: 0 visible, 1 hidden, 2 replaced by a random
            id, 3 kept as it is but predicted.
        """

    def __call__(self, grid: Grid, num_clips: int, rng: random.Random, pad: Tensor | None = None) -> Tensor:
        """Draw the masks of a batch.

        Args:
            grid: ``(t, h, w)`` of the tokens.
            num_clips: N.
            rng: the only source of randomness.
            pad: ``(N, t, h, w)`` bool on the host, True where there is no video; such positions stay visible.

        Returns:
            ``(N, t, h, w)`` bool or int8 on the host, as :meth:`sample` makes them.

        Raises:
            ValueError: if t is not a multiple of ``temporal_stride`` (a single frame always fits).
        """
        frames, height, width = grid
        stride = 1 if frames == 1 else self.temporal_stride
        if frames % stride:
            raise ValueError(f'{type(self).__name__}: {frames} token frames do not divide by '
                             f'temporal_stride={stride}; change the clip length or the stride')
        masks = torch.stack([self.sample((frames // stride, height, width), rng) for _ in range(num_clips)])
        masks = masks.repeat_interleave(stride, dim=1)  # (N, t, h, w)
        return masks if pad is None else masks.masked_fill(pad, 0)
