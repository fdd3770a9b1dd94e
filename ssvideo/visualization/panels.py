"""A table of clips at one moment, as one picture, or moving, as an animation."""
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from .frames import check_moments
from .movies import suffix_of, write_animation
from .reconstructions import LETTER_INCHES, TITLE_INCHES, TITLE_LETTER_INCHES, draw_strips, save_figure

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
    """Play clips beside each other, every frame; see :func:`~ssvideo.visualization.movies.write_animation`.

    Args:
        table: the clips. The label of a row may be empty.
        path: GIF or MP4 to write, whole or not at all.
        fps: frames per second of the animation, up to 50.
        title: above the clips.

    Returns:
        ``path``.

    Raises:
        ValueError: if the clips are no uint8 frames or differ in T, or ``path`` or ``fps`` is no animation's.
    """
    num_frames = _check(table)
    figure, drawn = _figure(table, title, 0)
    canvas, pictures = FigureCanvasAgg(figure), []
    for moment in range(num_frames):
        for image, frames in drawn:
            image.set_data(frames[moment])
        canvas.draw()
        pictures.append(np.array(canvas.buffer_rgba())[..., :3])
    return write_animation(pictures, path, fps)


def animate_rows(rows: Mapping[str, np.ndarray], path: str | os.PathLike, fps: float, title: str = '') -> Path:
    """Play the rows that ``draw_reconstructions`` draws, beside each other; see :func:`animate_panels`."""
    return animate_panels({'': list(rows.items())}, path, fps, title)


def save_panels(table: Panels, path: str | os.PathLike, fps: float, title: str = '') -> Path:
    """Draw the middle moment of every clip (``.png``), or play them (``.gif``, ``.mp4``), as the path says.

    Arguments, return value and errors are those of :func:`animate_panels`.
    """
    if suffix_of(path) == '.png':
        return draw_panels(table, path, _check(table) // 2, title)
    return animate_panels(table, path, fps, title)


def save_strips(table: Panels, path: str | os.PathLike, fps: float, title: str = '', num_columns: int = 8) -> Path:
    """Draw clips as strips, a row of frames for each (``.png``), or play them (``.gif``, ``.mp4``), as the path says.

    Args:
        table: the clips. In a strip the label of a row of the table stands once, above its first caption.
        path: picture to write, whole or not at all.
        fps: frames per second of an animation.
        title: above the clips.
        num_columns: frames of a strip at most, spread evenly over T.

    Returns:
        ``path``.

    Raises:
        ValueError: as :func:`animate_panels`; also if two strips have the same label and caption.
    """
    if suffix_of(path) != '.png':
        return animate_panels(table, path, fps, title)
    strips = [('\n'.join(filter(None, [label if not number else '', caption])), frames)
              for label, row in table.items() for number, (caption, frames) in enumerate(row)]
    return draw_strips(strips, path, title, num_columns)


def _check(table: Panels) -> int:
    """The common T of all clips."""
    return check_moments({f'{label}[{column}] {caption}'.strip(): frames for label, row in table.items()
                          for column, (caption, frames) in enumerate(row)})


def _figure(table: Panels, title: str, moment: int) -> tuple[Figure, list[tuple[AxesImage, np.ndarray]]]:
    """A figure of one moment, and its images, each with the clip that it shows."""
    num_columns = max(len(row) for row in table.values())
    left = 0.1 + max(0.25 + LETTER_INCHES * len(line) if line else 0 for label in table for line in label.split('\n'))
    tops = [0.1 + LINE_INCHES * max(caption.count('\n') + 1 for caption, _ in row) for row in table.values()]
    top = TITLE_INCHES if title else 0.0
    width = max(left + PANEL_INCHES * num_columns + 0.05, 0.2 + TITLE_LETTER_INCHES * len(title))
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
