"""Pictures that a file says are to be turned or mirrored when they are shown."""
from __future__ import annotations

import numpy as np


def display_matrix(frame) -> np.ndarray | None:
    """Where a frame's x and y axes point on the screen, as rows; None for a frame that is shown as it is."""
    for data in frame.side_data:
        if data.type.name == 'DISPLAYMATRIX':
            return np.frombuffer(bytes(data), np.int32).reshape(3, 3)[:2, :2] / 65536  # 16.16 fixed point
    return None


def turned(image: np.ndarray, matrix: np.ndarray | None) -> np.ndarray | None:
    """Show an image as its display matrix says; None if that is not made of right angles and mirrors."""
    if matrix is None:
        return image
    axes = np.sign(np.where(np.abs(matrix) < 1e-2 * np.abs(matrix).max(), 0, matrix)).astype(int)
    if sorted(map(tuple, np.abs(axes))) != [(0, 1), (1, 0)]:
        return None
    if axes[0, 0] == 0:  # x is shown as y
        image = image.transpose(1, 0, 2)
    horizontal, vertical = axes.sum(0)  # 1 or -1: whether rightwards and downwards on the screen is along the axis
    return np.ascontiguousarray(image[::vertical, ::horizontal])
