"""Frames as they are drawn: ``(T, H, W, 3)`` uint8 RGB."""
from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def to_frames(pixels: Tensor) -> np.ndarray:
    """Take a clip from the model's side to frames that can be drawn.

    Args:
        pixels: ``(3, T, H, W)``, uint8, or float in [0, 1]; on any device.

    Returns:
        ``(T, H, W, 3)`` uint8, on the host.
    """
    if pixels.dtype != torch.uint8:
        pixels = (pixels * 255).round().clamp(0, 255).to(torch.uint8)
    return pixels.permute(1, 2, 3, 0).cpu().numpy()


def spread_cells(cells: np.ndarray, size: tuple[int, int, int]) -> np.ndarray:
    """Give each pixel the value of the cell at its place.

    Args:
        cells: ``(t, h, w, ...)``.
        size: ``(T, H, W)`` of the frames.

    Returns:
        ``(T, H, W, ...)`` of the same type.
    """
    return cells[np.ix_(*(np.arange(pixels) * count // pixels for pixels, count in zip(size, cells.shape)))]


def check_frames(frames: np.ndarray, name: str) -> None:
    """Raise ``ValueError`` unless ``frames`` is ``(T, H, W, 3)`` uint8 with T > 0."""
    shape, dtype = getattr(frames, 'shape', None), getattr(frames, 'dtype', type(frames))
    if shape is None or len(shape) != 4 or shape[-1] != 3 or not len(frames) or dtype != np.uint8:
        raise ValueError(f'{name}: got {dtype} of shape {shape}, expected uint8 RGB frames (T, H, W, 3)')


def check_moments(rows: dict[str, np.ndarray]) -> int:
    """The common T of rows of frames that are drawn together.

    Raises:
        ValueError: if there is no row, one is no frames, or they differ in T.
    """
    if not rows:
        raise ValueError('rows is empty: expected at least one row of frames')
    for label, frames in rows.items():
        check_frames(frames, f'rows[{label!r}]')
    lengths = {label: len(frames) for label, frames in rows.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f'rows differ in frames, {lengths}: repeat or choose frames so that columns show one moment')
    return next(iter(lengths.values()))
