"""The results of a frozen evaluation as a table."""
from __future__ import annotations

from collections.abc import Sequence

from .frozen_protocol import Row


def frozen_table(rows: Sequence[Row]) -> str:
    """Tell top-1 in percent, mean and deviation over the seeds, for each method, share of the labels, and list.

    Args:
        rows: of :func:`~ssvideo.evaluation.frozen_protocol.evaluate_frozen`.

    Returns:
        A table in markdown; the settings that were chosen stand at the end of each line.
    """
    names = list(rows[0].trials[0].figures)
    lines = ['| method | labels | ' + ' | '.join(f'top-1 on {name}' for name in names) + ' | chosen |',
             '| --- | --- |' + ' --- |' * len(names) + ' --- |']
    for row in rows:
        labels = f'all ({row.trials[0].num_labels})' if row.fraction == 1 else \
            f'{100 * row.fraction:g} % ({row.trials[0].num_labels})'
        cells = [row.method, labels, *(_percent(*row.summary(name)) for name in names), _chosen(row)]
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines) + '\n'


def _percent(mean: float, deviation: float | None) -> str:
    return f'{100 * mean:.1f}' + ('' if deviation is None else f' ± {100 * deviation:.1f}')


def _chosen(row: Row) -> str:
    """The different settings that the seeds chose, in their order."""
    if not row.trials[0].held_out:
        return f'{_in_words(row.trials[0].setting)} (default: too few labels to choose by)'
    return '; '.join(dict.fromkeys(_in_words(trial.setting) for trial in row.trials))


def _in_words(setting) -> str:
    return ', '.join(f'{name.replace("_", " ")} {value:g}' for name, value in setting.items())
