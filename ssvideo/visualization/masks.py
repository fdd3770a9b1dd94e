"""Which tokens of a clip are hidden."""
from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from .frames import check_frames, spread_cells
from .reconstructions import draw_reconstructions

SHADE = np.array([214, 214, 214], np.uint8)  # opaque: nothing of a hidden pixel shines through
EDGE = np.array([255, 255, 255], np.uint8)  # between hidden tokens, so that each is seen
RANDOM = np.array([230, 159, 0], np.uint8)  # opaque, too: the model is shown another id there
KEPT = np.array([86, 180, 233], np.uint8)  # half of it over the frame: the model sees the token and predicts it


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
    """Cover the hidden tokens of a clip; each pixel belongs to the token at its place.

    What comes out does not depend on the pixels beneath a hidden token.

    Args:
        frames: ``(T, H, W, 3)`` uint8 RGB.
        mask: ``(t, h, w)`` bool, True = hidden; or the int8 kinds of :meth:`Masker.sample`: hidden ones are grey, those
            replaced by a random id orange, those kept but predicted seen through blue.

    Returns:
        Of the shape of ``frames``.
    """
    kinds = spread_cells(mask.astype(np.int8), frames.shape[:3])[..., None]  # (T, H, W, 1)
    tinted = (frames.astype(np.uint16) + KEPT) // 2
    hidden = np.where(_edges(frames, mask), EDGE, SHADE)
    return np.select([kinds == 1, kinds == 2, kinds == 3], [hidden, RANDOM, tinted], frames).astype(np.uint8)


def _edges(frames: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The first pixels of each token in height and width, ``(H, W, 1)`` bool; narrow tokens would vanish in them."""
    height, width = frames.shape[1:3]
    if min(height // mask.shape[1], width // mask.shape[2]) < 6:
        return np.zeros((height, width, 1), bool)
    rows, columns = (np.arange(side) * count // side for side, count in zip((height, width), mask.shape[1:]))
    edges = (np.diff(rows, prepend=rows[0]) > 0)[:, None] | (np.diff(columns, prepend=columns[0]) > 0)
    return edges[..., None]
