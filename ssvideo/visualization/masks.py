"""Which tokens of a clip are hidden."""
from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from .frames import check_frames
from .reconstructions import draw_reconstructions

SHADE = np.array([214, 214, 214], np.uint8)  # opaque: nothing of a hidden pixel shines through
EDGE = np.array([255, 255, 255], np.uint8)  # between hidden tokens, so that each is seen


def draw_masks(frames: np.ndarray, mask: np.ndarray, path: str | os.PathLike, title: str = '',
               num_columns: int = 8) -> Path:
    """Draw the frames of a clip, and beneath them the same frames with the hidden tokens shaded.

    Args:
        frames: ``(T, H, W, 3)`` uint8 RGB.
        mask: ``(t, h, w)`` bool, True = hidden.
        path: PNG to write.
        title: above the picture; the share of hidden tokens is added.
        num_columns: frames drawn at most.

    Returns:
        ``path``.

    Raises:
        ValueError: if the arrays are of other kinds, or the mask is finer than the frames.
    """
    check_frames(frames, 'frames')
    mask = np.asarray(mask)
    if mask.dtype != bool or mask.ndim != 3 or not mask.size or any(np.greater(mask.shape, frames.shape[:3])):
        raise ValueError(f'mask: got {mask.dtype} of shape {mask.shape}, expected bool (t, h, w), not empty and no '
                         f'finer than the frames {frames.shape[:3]}')
    title = f'{title}  ({mask.mean():.0%} hidden)'.strip()
    return draw_reconstructions({'frames': frames, 'hidden tokens': shade(frames, mask)}, path, title, num_columns)


def shade(frames: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Cover the hidden tokens of ``(T, H, W, 3)`` uint8 frames; each pixel belongs to the token at its place.

    What comes out does not depend on the pixels beneath the mask.
    """
    index, edges = [], np.zeros(frames.shape[1:3], bool)
    for axis in range(3):
        index.append(np.arange(frames.shape[axis]) * mask.shape[axis] // frames.shape[axis])
    if min(frames.shape[1] // mask.shape[1], frames.shape[2] // mask.shape[2]) >= 6:  # narrower tokens would vanish
        edges = (np.diff(index[1], prepend=index[1][0]) > 0)[:, None] | (np.diff(index[2], prepend=index[2][0]) > 0)
    hidden = mask[np.ix_(*index)]  # (T, H, W)
    return np.where(hidden[..., None], np.where(edges[..., None], EDGE, SHADE), frames)
