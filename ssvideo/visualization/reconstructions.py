"""Labelled rows of frames: a clip beside what a tokenizer or a model makes of it."""
from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ..utils.files import write_whole
from .frames import check_moments

FRAME_INCHES = 1.15
LETTER_INCHES = 0.078  # of the labels' font, on average
TITLE_INCHES = 0.35
TITLE_LETTER_INCHES = 0.1  # of the title's font


def draw_reconstructions(rows: Mapping[str, np.ndarray], path: str | os.PathLike, title: str = '',
                         num_columns: int = 8) -> Path:
    """Draw one labelled row of frames for each entry, all at the same moments.

    Args:
        rows: label, of one or more lines, to ``(T, H, W, 3)`` uint8 RGB; all of one T, H and W may differ.
        path: PNG to write.
        title: above the picture.
        num_columns: frames drawn at most, spread evenly over T.

    Returns:
        ``path``.

    Raises:
        ValueError: if the rows are no uint8 frames or differ in T.
    """
    check_moments(rows)
    return draw_strips(list(rows.items()), path, title, num_columns)


def draw_strips(strips: Sequence[tuple[str, np.ndarray]], path: str | os.PathLike, title: str = '',
                num_columns: int = 8) -> Path:
    """As :func:`draw_reconstructions`, for strips of which several may have one label."""
    num_frames = check_moments({f'{number} {label}': frames for number, (label, frames) in enumerate(strips)})
    moments = np.unique(np.linspace(0, num_frames - 1, min(num_columns, num_frames)).round().astype(int))

    top = TITLE_INCHES if title else 0.08
    label_width = 0.3 + LETTER_INCHES * max(len(line) for label, _ in strips for line in label.split('\n'))
    width = max(label_width + FRAME_INCHES * len(moments), 0.2 + TITLE_LETTER_INCHES * len(title))
    height = top + 0.22 + FRAME_INCHES * len(strips)
    figure = Figure(figsize=(width, height), facecolor='white')
    for row, (label, frames) in enumerate(strips):
        bottom = height - top - FRAME_INCHES * (row + 1)
        figure.text((label_width - 0.1) / width, (bottom + FRAME_INCHES / 2) / height, label, ha='right', va='center',
                    fontsize=10)
        for column, moment in enumerate(moments):
            left = label_width + FRAME_INCHES * column
            axes = figure.add_axes((left / width, bottom / height, 0.97 * FRAME_INCHES / width,
                                    0.97 * FRAME_INCHES / height))
            axes.imshow(frames[moment], interpolation='antialiased')
            axes.axis('off')
            if row == len(strips) - 1:
                figure.text((left + FRAME_INCHES / 2) / width, 0.07 / height, f'frame {moment}', ha='center',
                            fontsize=8, color='0.35')
    if title:
        figure.text(0.1 / width, 1 - 0.12 / height, title, ha='left', va='top', fontsize=11, fontweight='bold')
    return save_figure(figure, path)


def save_figure(figure: Figure, path: str | os.PathLike) -> Path:
    """Write a figure as PNG, whole or not at all, and return the path."""
    file = io.BytesIO()
    figure.savefig(file, format='png', dpi=110)
    write_whole(path, file.getvalue())
    return Path(path)
