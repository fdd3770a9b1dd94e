"""Temporal dependency: what is left of a model's accuracy when its clips stand still, are shuffled, or run backwards."""
from __future__ import annotations

import json
from collections.abc import Mapping
from numbers import Real
from pathlib import Path

from ..datasets.temporal_order import TEMPORAL_ORDERS
from ..utils.files import write_whole


def reordered_dataset(dataset: Mapping, order: str, seed: int) -> dict:
    """Make a test set show its clips in another order.

    Pixels are reordered between choosing and decoding the frames, tokens as they are read; every crop and view of a video
    sees the same order.

    Args:
        dataset: config of a data set with a pipeline that has a ``DecodeClips``, or of a ``TokenClips``.
        order: one of ``TEMPORAL_ORDERS``; see :func:`~ssvideo.datasets.temporal_order.shown_frames`.
        seed: of what is drawn.

    Returns:
        The config; as given where ``order`` is 'normal'.

    Raises:
        ValueError: for any other data set.
    """
    if order == 'normal':
        return dict(dataset)
    if _name_of(dataset) == 'TokenClips':
        return dict(type='ssvideo.ReorderedTokens', dataset=dict(dataset), order=order, seed=seed)
    pipeline = list(dataset.get('pipeline', []))
    names = [_name_of(transform) for transform in pipeline]
    if names.count('DecodeClips') != 1:
        raise ValueError(f'the frames of {dataset["type"]} cannot be reordered: expected a TokenClips, or a pipeline with one '
                         f'ssvideo.DecodeClips, got {names}')
    pipeline.insert(names.index('DecodeClips'), dict(type='ssvideo.ReorderFrames', order=order, seed=seed))
    return dict(dataset, pipeline=pipeline)


def temporal_table(figures: Mapping[str, Mapping[str, float]]) -> str:
    """Tell metrics by order as a table in markdown, with a row for each metric, as BEVT's Table 2.

    Args:
        figures: for each order, shares in [0, 1] by the name of the metric; what is no number is left out.

    Returns:
        The table, in percent.
    """
    orders = [order for order in TEMPORAL_ORDERS if order in figures]
    lines = ['| % | ' + ' | '.join(orders) + ' |', '| --- |' + ' --- |' * len(orders)]
    for metric, value in figures[orders[0]].items():
        if isinstance(value, Real):
            lines.append(f'| {metric} | ' + ' | '.join(f'{100 * figures[order][metric]:.1f}' for order in orders) + ' |')
    return '\n'.join(lines) + '\n'


def write_temporal(folder: str | Path, figures: Mapping[str, Mapping[str, float]], **about) -> Path:
    """Write ``temporal.md`` and ``temporal.json``.

    Args:
        folder: where to.
        figures: see :func:`temporal_table`.
        about: what else goes into the JSON, such as the checkpoint and the seed.

    Returns:
        The path of ``temporal.md``.
    """
    numbers = {order: {metric: float(value) for metric, value in row.items() if isinstance(value, Real)}
               for order, row in figures.items()}
    write_whole(Path(folder) / 'temporal.json', json.dumps(dict(about, figures=numbers), indent=1) + '\n')
    write_whole(Path(folder) / 'temporal.md', temporal_table(figures))
    return Path(folder) / 'temporal.md'


def _name_of(config: Mapping) -> str:
    return config['type'].rsplit('.', 1)[-1]
