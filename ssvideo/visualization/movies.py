"""Animations: GIF or MP4, as the name of the file says."""
from __future__ import annotations

import io
import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from ..utils.files import write_whole

ANIMATIONS = ('.gif', '.mp4')
SUFFIXES = ('.png', *ANIMATIONS)
MAX_FPS = 50.0
"""Viewers slow down a GIF that is faster."""


def suffix_of(path: str | os.PathLike, allowed: Sequence[str] = SUFFIXES) -> str:
    """The kind of picture that a path names, such as ``'.png'``.

    Raises:
        ValueError: if it is none of the allowed.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in allowed:
        raise ValueError(f'{path}: got the suffix {suffix!r}, expected {" or ".join(allowed)}, which says what is written')
    return suffix


def write_animation(pictures: Sequence[np.ndarray], path: str | os.PathLike, fps: float) -> Path:
    """Write pictures that follow each other, whole or not at all.

    A GIF plays in a loop in every browser, viewer and slide, with 256 colours for a picture; an MP4 (H.264) has all colours
    and is smaller.

    Args:
        pictures: ``(H, W, 3)`` uint8 RGB, all of one size.
        path: ``.gif`` or ``.mp4``.
        fps: pictures per second, up to 50.

    Returns:
        ``path``.

    Raises:
        ValueError: for another suffix, or ``fps`` out of range.
    """
    suffix = suffix_of(path, ANIMATIONS)
    if not 0 < fps <= MAX_FPS:
        raise ValueError(f'fps: got {fps}, expected more than 0 and at most {MAX_FPS:g} frames per second')
    write_whole(path, (_gif if suffix == '.gif' else _mp4)(pictures, fps))
    return Path(path)


def _gif(pictures: Sequence[np.ndarray], fps: float) -> bytes:
    file, images = io.BytesIO(), [Image.fromarray(picture) for picture in pictures]
    images[0].save(file, format='GIF', save_all=True, append_images=images[1:], duration=round(1000 / fps), loop=0)
    return file.getvalue()


def _mp4(pictures: Sequence[np.ndarray], fps: float) -> bytes:
    file = io.BytesIO()
    height, width = (side + side % 2 for side in pictures[0].shape[:2])  # colour is stored for 2 x 2 pixels
    with av.open(file, 'w', format='mp4') as container:
        stream = container.add_stream('libx264', rate=Fraction(fps).limit_denominator(1000), options=dict(crf='18'))
        stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
        for picture in pictures:
            even = np.pad(picture, ((0, height - picture.shape[0]), (0, width - picture.shape[1]), (0, 0)), mode='edge')
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format='rgb24')))
        container.mux(stream.encode(None))
    return file.getvalue()
