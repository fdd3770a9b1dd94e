"""Cut a grid of features into (shifted) windows and put it together again."""
from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

Grid = tuple[int, int, int]


@dataclass(frozen=True)
class Windows:
    """Where each cell of a batch of grids lies once the grids are shifted, padded and cut into windows.

    Args:
        num_clips: N; ``None`` where a graph for any number of clips is traced: the indices are then those of one clip.
        num_windows: windows of one clip.
        length: cells of one window, L.
        order: ``(N * num_windows * L,)`` int64, the grid cell (row of the flattened batch) that each window cell shows.
        inverse: ``(N * t * h * w,)`` int64, the window cell that shows each grid cell.
        padding: ``(N * num_windows * L, 1)`` bool, True for cells beyond the grid; ``None`` where there are none.
        regions: ``(num_windows, L)`` int64; cells of one window may see each other only where their numbers are equal.
            ``None`` without a shift.
        runs: lengths of runs of neighbouring windows in which the same pairs of cells may see each other. Windows are in
            an order in which there are few: most have no border inside them.
    """
    num_clips: int | None
    num_windows: int
    length: int
    order: Tensor
    inverse: Tensor
    padding: Tensor | None
    regions: Tensor | None
    runs: tuple[int, ...]

    def cut(self, x: Tensor) -> Tensor:
        """Take ``(N, t, h, w, C)`` to ``(N * num_windows, L, C)``; cells beyond the grid are zero."""
        if self.num_clips is None:
            return _take(x.flatten(1, 3), 1, self.order, self.padding).reshape(-1, self.length, x.shape[-1])
        rows = _Reorder.apply(x.reshape(-1, x.shape[-1]), self.order, self.padding, self.inverse, None)
        return rows.view(-1, self.length, x.shape[-1])

    def join(self, windows: Tensor, shape: torch.Size) -> Tensor:
        """Undo :meth:`cut`: take ``(N * num_windows, L, C)`` to ``shape``, ``(N, t, h, w, C)``."""
        if self.num_clips is None:
            cells = windows.reshape(-1, self.num_windows * self.length, shape[-1])
            return _take(cells, 1, self.inverse, None).unflatten(1, shape[1:4])
        rows = _Reorder.apply(windows.reshape(-1, shape[-1]), self.inverse, None, self.order, self.padding)
        return rows.view(shape)

    def apart(self) -> Tensor | None:
        """Tell which pairs of cells a shift brought together only by wrapping: ``(num_windows, 1, L, L)`` bool."""
        if self.regions is None:
            return None
        return (self.regions[:, None, :, None] != self.regions[:, None, None, :])


def windows_of(num_clips: int, grid: Grid, window: Grid, shift: Grid, device: torch.device) -> Windows:
    """Lay out the windows of a batch of grids.

    A window is never larger than the grid; along such an axis nothing is shifted. A grid that the windows do not fill
    is padded at its far end.

    Args:
        num_clips: N; a ``SymInt`` while a graph is traced with any.
        grid: ``(t, h, w)`` of the features.
        window: cells of a window per axis.
        shift: cells by which the windows are shifted per axis.
        device: of the features.

    Returns:
        The layout, made once per shape and shared by all blocks.

    Source: Swin Transformer, arXiv:2103.14030, Sec. 3.2; Video Swin Transformer, arXiv:2106.13230, Sec. 3.2.
    """
    size = tuple(min(g, w) for g, w in zip(grid, window))
    shift = tuple(s if g > w else 0 for g, w, s in zip(grid, window, shift))
    counts = tuple(-(-g // s) for g, s in zip(grid, size))
    traced = isinstance(num_clips, torch.SymInt)
    layout = _layout(1 if traced else num_clips, grid, size, shift, str(device))
    return Windows(None if traced else num_clips, math.prod(counts), math.prod(size), *layout)


class _Reorder(torch.autograd.Function):
    """Rows in another order. The gradient is read in the opposite order, not summed where rows go."""

    @staticmethod
    def forward(ctx, rows, order, blank, back_order, back_blank):
        ctx.save_for_backward(back_order, back_blank)
        return _take(rows, 0, order, blank)

    @staticmethod
    def backward(ctx, grad):
        return _take(grad, 0, *ctx.saved_tensors), None, None, None, None


def _take(rows: Tensor, axis: int, order: Tensor, blank: Tensor | None) -> Tensor:
    taken = rows.index_select(axis, order)
    return taken if blank is None else taken.masked_fill(blank, 0)


@torch.compiler.assume_constant_result
def _layout(num_clips: int, grid: Grid, size: Grid, shift: Grid, device: str) -> tuple:
    return _cached_layout(num_clips, grid, size, shift, device)


@lru_cache(maxsize=64)
def _cached_layout(num_clips: int, grid: Grid, size: Grid, shift: Grid, device: str) -> tuple:
    padded = tuple(-(-g // s) * s for g, s in zip(grid, size))
    cells = np.full(padded, -1)
    cells[:grid[0], :grid[1], :grid[2]] = np.arange(np.prod(grid)).reshape(grid)
    cells = _cut_array(np.roll(cells, [-s for s in shift], (0, 1, 2)), size)  # (windows, L)
    regions, runs = None, (len(cells),)
    if any(shift):
        regions = _cut_array(_regions(padded, size, shift), size)
        in_order, runs = _alike_together(regions)
        cells, regions = cells[in_order], regions[in_order]
    cells = cells.reshape(-1)

    clips = np.arange(num_clips)[:, None]
    order = (clips * np.prod(grid) + np.maximum(cells, 0)).reshape(-1)
    inverse = np.empty(np.prod(grid), dtype=np.int64)
    inverse[cells[cells >= 0]] = np.flatnonzero(cells >= 0)
    inverse = (clips * len(cells) + inverse).reshape(-1)
    padding = np.tile(cells < 0, num_clips)[:, None] if padded != grid else None
    # Not inference tensors, even when first made while evaluating: a training step will save them for its backward.
    with torch.inference_mode(False):
        tensors = (None if a is None else torch.from_numpy(a).to(device) for a in (order, inverse, padding, regions))
        return *tensors, runs


def _cut_array(cells: np.ndarray, size: Grid) -> np.ndarray:
    """Take ``(t, h, w)`` to ``(windows, L)``."""
    t, h, w = (c // s for c, s in zip(cells.shape, size))
    cells = cells.reshape(t, size[0], h, size[1], w, size[2]).transpose(0, 2, 4, 1, 3, 5)
    return np.ascontiguousarray(cells.reshape(t * h * w, -1))


def _regions(padded: Grid, size: Grid, shift: Grid) -> np.ndarray:
    """Number the parts of a rolled grid that were neighbours before it was rolled."""
    number = np.zeros((1, 1, 1), dtype=np.int64)
    for axis, (cells, window, moved) in enumerate(zip(padded, size, shift)):
        at = np.arange(cells)
        part = (at >= cells - window).astype(np.int64) + (at >= cells - moved) if moved else np.zeros_like(at)
        number = 3 * number + part.reshape([-1 if a == axis else 1 for a in range(3)])
    return number


def _alike_together(regions: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    """An order of windows ``(windows, L)`` in which those that are parted alike follow each other, and how many do."""
    parted = np.stack([np.unique(window, return_inverse=True)[1] for window in regions])
    kinds = np.unique(parted, axis=0, return_inverse=True)[1].reshape(-1)
    return np.argsort(kinds, kind='stable'), tuple(np.bincount(kinds).tolist())
