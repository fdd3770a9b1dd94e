"""Curves of a run, read from the log that mmengine's ``LocalVisBackend`` leaves."""
from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .reconstructions import save_figure

# Okabe and Ito's colours, which colour-blind readers tell apart; black is kept for the line of chance.
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9')
DASHES = ('-', '--', ':', '-.')
PANEL_COLUMNS = 4

Series = dict[str, list[tuple[int, float]]]


def draw_curves(series: Mapping[str, Sequence[tuple[int, float]]], path: str | os.PathLike, title: str, ylabel: str,
                chance: float | None = None) -> Path:
    """Draw one line for each series over the training step.

    Args:
        series: label to ``(step, value)`` points; a single point is drawn as a dot.
        path: PNG to write.
        title: above the axes.
        ylabel: what the values are.
        chance: height of a dotted line for what guessing reaches.

    Returns:
        ``path``.

    Raises:
        ValueError: if there is no point to draw.
    """
    drawn = {label: points for label, points in series.items() if len(points)}
    if not drawn:
        raise ValueError(f'no points in series {list(series)}: nothing to draw in {path}')
    figure = Figure(figsize=(6.4, 3.6), facecolor='white', layout='constrained')
    axes = figure.add_subplot()
    _draw_lines(axes, drawn)
    if chance is not None:
        axes.axhline(chance, color='black', linestyle=':', linewidth=1.2, label=f'chance ({chance:.3g})')
    axes.set_title(title, loc='left', fontsize=11, fontweight='bold')
    axes.set_xlabel('step')
    axes.set_ylabel(ylabel)
    if len(drawn) + (chance is not None) > 1:
        axes.legend(frameon=False, fontsize=9)
    return save_figure(figure, path)


def draw_overview(quantities: Mapping[str, Mapping[str, Sequence[tuple[int, float]]]], path: str | os.PathLike) -> Path:
    """Draw several quantities of the same runs, each in axes of its own, into one picture.

    Args:
        quantities: name to what :func:`draw_curves` is given; a label has one colour in all axes.
        path: PNG to write.

    Returns:
        ``path``.

    Raises:
        ValueError: if there is no point to draw.
    """
    labels = list(dict.fromkeys(label for series in quantities.values() for label, points in series.items() if len(points)))
    if not labels:
        raise ValueError(f'no points in {list(quantities)}: nothing to draw in {path}')
    columns = min(len(quantities), PANEL_COLUMNS)
    rows = -(-len(quantities) // columns)
    figure = Figure(figsize=(4.2 * columns, 2.6 * rows + 0.4), facecolor='white', layout='constrained')
    for place, (name, series) in enumerate(quantities.items(), 1):
        axes = figure.add_subplot(rows, columns, place)
        _draw_lines(axes, {label: series.get(label, ()) for label in labels})
        axes.set_title(name, loc='left', fontsize=10, fontweight='bold')
        axes.tick_params(labelsize=8)
    if len(labels) > 1:
        lines = [Line2D([], [], **_style(index), label=label) for index, label in enumerate(labels)]
        figure.legend(handles=lines, loc='outside lower center', ncols=min(len(labels), 4), frameon=False, fontsize=9)
    return save_figure(figure, path)


def _draw_lines(axes: Axes, series: Mapping[str, Sequence[tuple[int, float]]]) -> None:
    """One line for each label that has points, in the style of its place."""
    for index, (label, points) in enumerate(series.items()):
        if len(points):
            steps, values = zip(*points)
            axes.plot(steps, values, label=label, marker='o' if len(points) == 1 else None, **_style(index))
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(axis='y', color='0.9', linewidth=0.8)
    axes.set_axisbelow(True)


def _style(index: int) -> dict:
    return dict(color=COLOURS[index % len(COLOURS)], linestyle=DASHES[index // len(COLOURS) % len(DASHES)], linewidth=1.8)


def read_scalars(run: str | os.PathLike) -> Series:
    """Read every scalar logged in a working directory, resumed runs joined.

    The logs of the directory (``<timestamp>/vis_data/scalars.json``) are read from old to new. A run that resumed
    replaces what older ones logged from its first step on; a run that started afresh replaces them altogether.

    Args:
        run: working directory of one run; or one log, a ``.json`` file.

    Returns:
        Name to ``(step, value)`` points in order of the step; empty where nothing was logged.

    Raises:
        ValueError: if a log has a line that is no JSON object. A torn last line, of a killed run, is left out.
    """
    merged: dict[str, dict[int, float]] = {}
    earliest = None
    for log in [Path(run)] if Path(run).is_file() else sorted(Path(run).glob('*/vis_data/scalars.json')):
        lines = _read_lines(log)
        first = min((line['step'] for line in lines if 'iter' in line), default=None)
        if first is not None and (earliest is None or first <= earliest):
            merged, earliest = {}, first
        for name, points in _by_name(lines).items():
            kept = {step: value for step, value in merged.get(name, {}).items() if step < min(points)}
            merged[name] = kept | points
    return {name: sorted(points.items()) for name, points in merged.items()}


def _read_lines(log: Path) -> list[dict]:
    texts = [text for text in log.read_text().split('\n') if text.strip()]
    lines = []
    for number, text in enumerate(texts, 1):
        try:
            line = json.loads(text)
        except json.JSONDecodeError as error:
            if number == len(texts):
                break
            raise ValueError(f'{log}, line {number}: {error}; expected one JSON object a line') from error
        if not isinstance(line, dict) or not isinstance(line.get('step'), int):
            raise ValueError(f'{log}, line {number}: got {text[:80]!r}, expected a JSON object with an integer "step"')
        lines.append(line)
    return lines


def _by_name(lines: list[dict]) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for line in lines:
        for name, value in line.items():
            if name not in ('step', 'iter', 'epoch') and isinstance(value, (int, float)):
                found.setdefault(name, {})[line['step']] = float(value)
    return found
