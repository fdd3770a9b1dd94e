"""Histograms of oriented gradients as continuous targets."""
from __future__ import annotations

import torch
from torch import Tensor

from ssvideo.models.tokenizers import Tokenizer
from ssvideo.registry import MODELS

from .hog import draw_strokes, oriented_gradients


@MODELS.register_module()
class HogTargets(Tokenizer):
    """The gradients of a patch, as histograms of their directions, are its target; nothing is learnt, nothing is loaded.

    Args:
        stride: frames, pixels and pixels of one patch; the sides are multiples of ``cell``. Of several frames the first
            is described.
        num_bins: bins of a histogram.
        cell: side of a square with a histogram of its own, in pixels.
        min_norm: see :func:`oriented_gradients`; above the default it keeps the noise of plain cells out of the targets.

    Raises:
        ValueError: if a number is not positive or the sides are no multiples of ``cell``.

    Source: MaskFeat, arXiv:2112.09133, Sec. 3.2; the first frame of a patch: the authors' code.
    """
    independent_frames = True

    def __init__(self, stride: tuple[int, int, int] = (1, 16, 16), num_bins: int = 9, cell: int = 8,
                 min_norm: float = 1e-12) -> None:
        super().__init__()
        if len(stride) != 3 or min(*stride, num_bins, cell) < 1 or min_norm <= 0 or stride[1] % cell or stride[2] % cell:
            raise ValueError('HogTargets: stride must be (frames, pixels, pixels), the pixels multiples of cell, and all numbers '
                             f'positive; got stride={tuple(stride)}, num_bins={num_bins}, cell={cell}, '
                             f'min_norm={min_norm}')
        self.stride = tuple(stride)
        self.num_bins = num_bins
        self.cell = cell
        self.min_norm = min_norm
        self.cells = stride[1] // cell, stride[2] // cell
        self.target_dims = 3 * num_bins * self.cells[0] * self.cells[1]
        self.register_buffer('strokes', draw_strokes(num_bins, cell), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """``(N, 3, T, H, W)`` in [0, 1] -> ``(N, t, h, w, C)``, C being the cells of a patch x colours x bins."""
        frames = pixels[:, :, ::self.stride[0]].transpose(1, 2)  # (N, t, 3, H, W)
        found = oriented_gradients(frames.flatten(0, 1), self.num_bins, self.cell, self.min_norm)
        patches = found.unflatten(2, (-1, self.cells[1])).unflatten(1, (-1, self.cells[0])).transpose(2, 3)
        return patches.flatten(3).unflatten(0, frames.shape[:2])

    def decode(self, tokens: Tensor) -> Tensor:
        """Draw each bin as a stroke along its edges, as bright as the bin is full, in the colour it was measured in."""
        bins = tokens.clamp_min(0).unflatten(-1, (*self.cells, 3, self.num_bins))  # (N, t, h, w, rows, columns, 3, bins)
        drawn = torch.tensordot(bins, self.strokes.to(bins), dims=1)  # (N, t, h, w, rows, columns, 3, cell, cell)
        frames = drawn.permute(0, 6, 1, 2, 4, 7, 3, 5, 8).flatten(6).flatten(3, 5)  # (N, 3, t, H, W)
        return frames.clamp(0, 1).repeat_interleave(self.stride[0], dim=2)
