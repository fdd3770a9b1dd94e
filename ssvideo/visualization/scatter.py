"""Points in the plane, by class."""
from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from .reconstructions import save_figure

MARKERS = 'osD^vP*X'
COLOURS = colormaps['tab10'].colors
MAX_NAMED = 40  # more classes would not fit into the legend


def draw_scatter(points: np.ndarray, labels: Sequence[int] | None, path: str | os.PathLike, title: str = '',
                 names: Sequence[str] = ()) -> Path:
    """Draw points, with a colour and a marker for each class.

    Args:
        points: ``(M, 2)``.
        labels: M classes; ``None`` where there are none.
        path: PNG to write.
        title: above the picture.
        names: of the classes in order; a class without one is written as its number.

    Returns:
        ``path``.

    Raises:
        ValueError: if there is no point, or labels are not as many.
    """
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise ValueError(f'points: got shape {points.shape}, expected (M, 2) with M > 0')
    classes = np.zeros(len(points), int) if labels is None else np.asarray(labels)
    if len(classes) != len(points):
        raise ValueError(f'{len(points)} points need as many labels, got {len(classes)}')
    figure = Figure(figsize=(8.2, 6), facecolor='white', layout='constrained')
    axes = figure.add_subplot()
    for number, label in enumerate(np.unique(classes)):
        name = names[label] if label < len(names) else f'class {label}'
        axes.scatter(*points[classes == label].T, s=18, color=COLOURS[number % len(COLOURS)], linewidths=0,
                     marker=MARKERS[number // len(COLOURS) % len(MARKERS)], label=name, alpha=0.85)
    axes.set_title(title, loc='left', fontsize=11, fontweight='bold')
    axes.set(xticks=[], yticks=[])  # distances are meant, not coordinates
    axes.spines[:].set_color('0.85')
    if labels is not None and number < MAX_NAMED:
        figure.legend(loc='outside right upper', frameon=False, fontsize=9)
    return save_figure(figure, path)
