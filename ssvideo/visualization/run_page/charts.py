"""The scalars of a run as curves and a table."""
from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ..curves import Series, draw_curves
from .content import Note, Picture, Section, Table, picture_of

CHARTS = (  # title, unit, what the names of its scalars match; a name goes to the first
    ('Accuracy', 'share', r'accuracy$|top\d+$|^acc/|mean\d+$'),
    ('Losses', 'loss', r'loss'),
    ('PSNR', 'dB', r'psnr$'),
    ('Codebook use', 'share of ids', r'codebook_use$'),
    ('Perplexity', 'ids', r'perplexity$'),
    ('Effective rank of features', 'dimensions', r'effective_rank$'),
    ('Standard deviation of features', 'deviation', r'feature_std$'),
    ('Similarity of pairs', 'cosine', r'similarity$'),
    ('Gradient norm', 'norm', r'grad_norm$'),
    ('Learning rate', 'rate', r'^lr$'),
    ('Masked share', 'share of tokens', r'mask_ratio$'),
    ('Speed', 'samples per second', r'samples_per_s$'),
    ('Time of a step', 'seconds', r'^(data_)?time$'),
    ('Steps left out, files skipped', 'number', r'skipped_(steps|files)$'))
HEALTH = CHARTS[3:9]


def chart_of(name: str) -> str | None:
    """The title of the chart that a scalar belongs to; ``None`` for such as are in the table alone."""
    return next((title for title, _, pattern in CHARTS if re.search(pattern, name)), None)


def curve_sections(scalars: Series) -> list[Section]:
    """Curves, and curves of the health of the training."""
    health = {title for title, _, _ in HEALTH}
    series: dict[str, Series] = {title: {} for title, _, _ in CHARTS}
    for name, points in sorted(scalars.items()):
        if (title := chart_of(name)) is not None:
            series[title][name] = points
    return [Section('Curves', _drawn({title: found for title, found in series.items() if title not in health})),
            Section('Health', _drawn({title: found for title, found in series.items() if title in health}))]


def overlaid_section(parts: Mapping[str, Series]) -> Section:
    """The same scalar of several runs, such as seeds, in one chart: of each loss and accuracy."""
    names = sorted({name for scalars in parts.values() for name in scalars if chart_of(name) in ('Accuracy', 'Losses')})
    return Section('Curves', [_chart(name, chart_of(name).lower(), {part: scalars[name] for part, scalars in parts.items()
                                                                    if name in scalars}) for name in names])


def _drawn(series: Mapping[str, Series]) -> list[Picture | Note]:
    units = {title: unit for title, unit, _ in CHARTS}
    return [_chart(title, units[title], found) for title, found in series.items() if found]


def _chart(title: str, unit: str, series: Series) -> Picture | Note:
    with tempfile.TemporaryDirectory() as folder:
        path = draw_curves({name.replace('_', ' '): points for name, points in series.items()}, Path(folder) / 'chart.png', title,
                           unit)
        described = '; '.join(f'{name}: {points[0][1]:.4g} at step {points[0][0]}, {points[-1][1]:.4g} at step {points[-1][0]}'
                              for name, points in series.items())
        return picture_of(path, title, f'{title}, {unit}, over the training step. {described}')


def numbers_section(scalars: Series) -> Section:
    """Every scalar: its first, least, greatest and last value."""
    rows = []
    for name, points in sorted(scalars.items()):
        values = [value for _, value in points]
        rows.append([name, f'{points[-1][0]}', *(f'{value:.4g}' for value in (values[0], min(values), max(values), values[-1]))])
    columns = ['scalar', 'last step', 'first', 'least', 'most', 'last']
    return Section('Numbers', [Table('Every scalar that was logged', columns, rows, numeric=True, folded=True)] if rows else [])
