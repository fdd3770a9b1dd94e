"""Histograms of oriented gradients."""
from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def oriented_gradients(pictures: Tensor, num_bins: int = 9, cell: int = 8, min_norm: float = 1e-12) -> Tensor:
    """How much gradient there is in each direction, for each cell of each colour.

    Gradients are Sobel's, the border mirrored without its own pixels. Every pixel votes for one bin with the length of
    its gradient; a direction and its opposite are the same. The bins of a cell are divided by their norm.

    Args:
        pictures: ``(M, 3, H, W)`` float, H and W multiples of ``cell``.
        num_bins: bins of half a turn.
        cell: side of a cell, in pixels.
        min_norm: least number to divide by. The default, as published, makes the scale of a channel indifferent: the noise of a
            plain cell counts as much as an edge. For pixels in [0, 1] an edge across a cell of 8 x 8 has a norm of 64 times
            its contrast, noise of one grey level about 0.3.

    Returns:
        ``(M, H / cell, W / cell, 3, num_bins)`` float32. Bin k holds the angles from ``k`` to ``k + 1`` times
        ``pi / num_bins``, measured from the vertical.

    Source: MaskFeat, arXiv:2112.09133, Sec. 3.2 and the authors' code; HOG: Dalal and Triggs, 2005.
    """
    padded = F.pad(pictures.float(), (1, 1, 1, 1), mode='reflect')
    columns = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    rows = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    across, down = columns[..., :-2] - columns[..., 2:], rows[..., :-2, :] - rows[..., 2:, :]  # (M, 3, H, W)
    bins = (torch.atan2(across, down) * (num_bins / math.pi)).floor().remainder(num_bins)
    length = torch.hypot(across, down)
    # bin by bin: sums have a fixed order, as those of a scatter on a GPU do not, and need a ninth of a one-hot's memory
    histogram = torch.stack([_sum_cells(length * (bins == k), cell) for k in range(num_bins)], -1)
    return F.normalize(histogram, dim=-1, eps=min_norm).permute(0, 2, 3, 1, 4)


def _sum_cells(values: Tensor, cell: int) -> Tensor:
    """``(M, 3, H, W)`` -> ``(M, 3, H / cell, W / cell)``."""
    return values.unflatten(3, (-1, cell)).unflatten(2, (-1, cell)).sum((3, 5))


def draw_strokes(num_bins: int, cell: int) -> Tensor:
    """For each bin, a line through the middle of a cell along the edges that its gradients belong to.

    Returns:
        ``(num_bins, cell, cell)`` in [0, 1].
    """
    angles = (torch.arange(num_bins) + 0.5) * (math.pi / num_bins)  # from the vertical
    place = torch.arange(cell) - (cell - 1) / 2
    distance = angles.sin()[:, None, None] * place + angles.cos()[:, None, None] * place[:, None]
    return (1 - distance.abs()).clamp_min(0)
