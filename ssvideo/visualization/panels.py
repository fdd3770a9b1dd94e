"""A table of clips at one moment, as one picture, or moving, as an animation."""
from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image

from ..utils.files import write_whole
from .frames import check_moments
from .reconstructions import LETTER_INCHES, TITLE_INCHES, save_figure

PANEL_INCHES = 1.55
LINE_INCHES = 0.16  # of a caption

Panels = Mapping[str, Sequence[tuple[str, np.ndarray]]]
"""Label of a row to its captions and clips, ``(T, H, W, 3)`` uint8 RGB, all of one T."""


def draw_panels(table: Panels, path: str | os.PathLike, moment: int, title: str = '') -> Path:
    """Draw clips at one moment, a caption above each.

    Args:
        table: the clips. The label of a row may be empty.
        path: PNG to write.
        moment: number of the frame.
        title: above the picture.

    Returns:
        ``path``.

    Raises:
        ValueError: if the clips are no uint8 frames or differ in T, or there is no such frame.
    """
    num_frames = _check(table)
    if not 0 <= moment < num_frames:
        raise ValueError(f'moment: got {moment}, expected 0 to {num_frames - 1}, as the clips have {num_frames} frames')
    return save_figure(_figure(table, title, moment)[0], path)


def animate_panels(table: Panels, path: str | os.PathLike, fps: float, title: str = '') -> Path:
    """Play clips beside each other: every frame, in a loop.

    A GIF is what every browser, viewer and slide shows; the price is 256 colours for a frame of the animation.

    Args:
        table: the clips. The label of a row may be empty.
        path: GIF to write, whole or not at all.
        fps: frames per second of the animation, up to 50.
        title: above the clips.

    Returns:
        ``path``.

    Raises:
        ValueError: if the clips are no uint8 frames or differ in T, or ``fps`` is out of range.
    """
    if not 0 < fps <= 50:  # viewers slow down what is faster
        raise ValueError(f'fps: got {fps}, expected more than 0 and at most 50 frames per second')
    num_frames = _check(table)
    figure, drawn = _figure(table, title, 0)
    canvas, pictures = FigureCanvasAgg(figure), []
    for moment in range(num_frames):
        for image, frames in drawn:
            image.set_data(frames[moment])
        canvas.draw()
        pictures.append(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert('RGB'))
    file = io.BytesIO()
    pictures[0].save(file, format='GIF', save_all=True, append_images=pictures[1:], duration=round(1000 / fps), loop=0)
    write_whole(path, file.getvalue())
    return Path(path)


def animate_rows(rows: Mapping[str, np.ndarray], path: str | os.PathLike, fps: float, title: str = '') -> Path:
    """Play the rows that ``draw_reconstructions`` draws, beside each other; see :func:`animate_panels`."""
    return animate_panels({'': list(rows.items())}, path, fps, title)


def _check(table: Panels) -> int:
    """The common T of all clips."""
    return check_moments({f'{label}[{column}] {caption}'.strip(): frames for label, row in table.items()
                          for column, (caption, frames) in enumerate(row)})


def _figure(table: Panels, title: str, moment: int) -> tuple[Figure, list[tuple[AxesImage, np.ndarray]]]:
    """A figure of one moment, and its images, each with the clip that it shows."""
    num_columns = max(len(row) for row in table.values())
    left = 0.1 + max(0.15 + LETTER_INCHES * len(line) if line else 0 for label in table for line in label.split('\n'))
    tops = [0.1 + LINE_INCHES * max(caption.count('\n') + 1 for caption, _ in row) for row in table.values()]
    top = TITLE_INCHES if title else 0.0
    width = left + PANEL_INCHES * num_columns + 0.05
    height = top + sum(tops) + PANEL_INCHES * len(table) + 0.08
    figure, drawn, bottom = Figure(figsize=(width, height), facecolor='white', dpi=110), [], height - top
    for (label, row), caption_height in zip(table.items(), tops):
        bottom -= caption_height + PANEL_INCHES
        figure.text((left - 0.12) / width, (bottom + PANEL_INCHES / 2) / height, label, ha='right', va='center', fontsize=10)
        for column, (caption, frames) in enumerate(row):
            x = left + PANEL_INCHES * column
            axes = figure.add_axes((x / width, bottom / height, 0.96 * PANEL_INCHES / width, 0.96 * PANEL_INCHES / height))
            axes.axis('off')
            drawn.append((axes.imshow(frames[moment], interpolation='antialiased'), frames))
            figure.text((x + 0.48 * PANEL_INCHES) / width, (bottom + PANEL_INCHES) / height, caption, ha='center',
                        va='bottom', fontsize=8.5, linespacing=1.1)
    if title:
        figure.text(0.1 / width, 1 - 0.12 / height, title, ha='left', va='top', fontsize=11, fontweight='bold')
    return figure, drawn
