"""Pixels by patch."""
from __future__ import annotations

from torch import Tensor


def cut_patches(pixels: Tensor, stride: tuple[int, int, int]) -> Tensor:
    """Cut clips into patches that do not overlap.

    Args:
        pixels: ``(N, 3, T, H, W)``, sides multiples of ``stride``.
        stride: frames, pixels and pixels of a patch.

    Returns:
        ``(N, t, h, w, C)``; the C values of a patch are in the order colour, frame, row, column.
    """
    frames, height, width = stride
    return (pixels.unflatten(4, (-1, width)).unflatten(3, (-1, height)).unflatten(2, (-1, frames))
            .permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4))  # (N, t, h, w, 3 * frames * height * width)
