"""Take a mask from the token grid to a backbone's patch grid."""
from __future__ import annotations

from torch import Tensor


def resize_mask(mask: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Resize a mask by nearest neighbour.

    Args:
        mask: ``(N, t, h, w)`` bool or integer.
        grid: the grid wanted.

    Returns:
        ``(N, *grid)`` of the same type: each cell takes the value of the token that covers its corner.
    """
    for dim, size in enumerate(grid, start=1):
        have = mask.shape[dim]
        if have == size:
            continue
        if size % have == 0:
            mask = mask.repeat_interleave(size // have, dim)
        elif have % size == 0:
            mask = mask[(slice(None),) * dim + (slice(None, None, have // size),)]
        else:
            mask = mask[(slice(None),) * dim + ([i * have // size for i in range(size)],)]
    return mask
