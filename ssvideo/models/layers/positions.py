"""Learned positions of a token grid, factorised by axis."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def interpolate_positions(table: Tensor, size: int) -> Tensor:
    """Stretch a table of positions along its axis, linearly (``align_corners=False``).

    Serves an optimiser's moments of the table as well.

    Args:
        table: ``(length, C)``.
        size: the length wanted.

    Returns:
        ``(size, C)`` of the same type.
    """
    line = table.to(torch.promote_types(table.dtype, torch.float32)).t().unsqueeze(0)  # (1, C, length)
    return F.interpolate(line, size=size, mode='linear', align_corners=False)[0].t().to(table.dtype).contiguous()


class GridPositions(nn.Module):
    """One table for each axis of the grid, summed, and one vector for [CLS].

    Args:
        grid: ``(t, h, w)``.
        dims: C.

    Source: VIMPAC, arXiv:2106.11250, Eq. 8.
    """

    axes = ('temporal', 'height', 'width')

    def __init__(self, grid: tuple[int, int, int], dims: int) -> None:
        super().__init__()
        self.cls = nn.Parameter(torch.empty(dims))
        self.temporal = nn.Parameter(torch.empty(grid[0], dims))
        self.height = nn.Parameter(torch.empty(grid[1], dims))
        self.width = nn.Parameter(torch.empty(grid[2], dims))

    def forward(self) -> Tensor:
        """Return the positions of the whole grid, ``(t, h, w, C)``."""
        return self.temporal[:, None, None] + self.height[:, None] + self.width


def fit_positions(state_dict: dict[str, Tensor], grid: tuple[int, int, int],
                  prefix: str = 'positions.') -> tuple[dict[str, Tensor], list[str]]:
    """Interpolate the tables of a ``GridPositions`` that was learned on another grid.

    Args:
        state_dict: weights of a backbone.
        grid: ``(t, h, w)`` wanted.
        prefix: of the tables' names.

    Returns:
        The weights, and a line for each table that was changed, as ``Backbone.adapt`` returns them.
    """
    state_dict, lines = dict(state_dict), []
    for axis, size in zip(GridPositions.axes, grid):
        name = f'{prefix}{axis}'
        table = state_dict.get(name)
        if table is not None and len(table) != size:
            state_dict[name] = interpolate_positions(table, size)
            lines.append(f'{name}: interpolated from {len(table)} to {size} positions')
    return state_dict, lines
