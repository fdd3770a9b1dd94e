"""Files of results and lists as tables."""
from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .content import Note, Table

MAX_ROWS = 200


def json_table(path: Path) -> Table | Note:
    """A JSON file as a table: known ones in a form of their own, others key by key; a warning where it cannot be read."""
    try:
        content = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        return Note(f'{path.name} cannot be read: {error}', warning=True)
    try:
        known = {'results.json': _repeats, 'temporal.json': _temporal, 'report.json': _report}.get(path.name)
        return known(content) if known else _keys(content, path.name)
    except (KeyError, TypeError, AttributeError, ValueError):  # of this name, but another form
        return _keys(content, path.name)


def lines_table(path: Path) -> Table | Note:
    """A file of JSON lines as a table; half a line, which a killed process leaves, is counted."""
    entries, torn = [], 0
    for line in path.read_text(errors='replace').splitlines():
        try:
            entry = json.loads(line)
            entries.append(entry if isinstance(entry, dict) else {'': entry})
        except json.JSONDecodeError:
            torn += 1
    columns = list(dict.fromkeys(key for entry in entries for key in entry))
    rows = [[_text(entry.get(column, '')) for column in columns] for entry in entries]
    table = _cut(path.name, columns, rows)
    table.note = ' '.join(filter(None, [f'{len(entries)} in all.', table.note, f'{torn} torn line(s) left out.' if torn else '']))
    return table


def steps_table(path: Path) -> Table:
    """The quickstart's ``steps.tsv``: title, seconds, command."""
    rows = [(line.split('\t') + ['', ''])[:3] for line in path.read_text(errors='replace').splitlines() if line.strip()]
    return _cut('Steps', ['step', 'seconds', 'command'], rows)


def percent(value: float) -> str:
    """A share as text."""
    return f'{100 * value:.1f} %'


def _repeats(content: Mapping) -> Table:
    """``results.json`` of ``tools/train.py --seeds`` or ``--splits``."""
    word = 'split' if 'splits' in content else 'seed'
    rows = [[f'{word} {one[word]}', percent(one['top1']), f'{one["num_test"]}', f'{one["seconds"]:.0f}']
            for one in content[f'{word}s']]
    rows.append(['mean ± standard deviation', f'{100 * content["mean"]:.1f} ± {100 * content["std"]:.1f} %', '', ''])
    chance = percent(1 / content['num_classes'])
    return Table(f'Accuracy of {content["task"]}, {content["num_classes"]} classes (chance {chance})',
                 [word, 'top-1', 'test videos', 'seconds'], rows, numeric=True)


def _temporal(content: Mapping) -> Table:
    """``temporal.json`` of ``tools/test.py --temporal all``."""
    figures = content['figures']
    orders, metrics = list(figures), list(dict.fromkeys(metric for row in figures.values() for metric in row))
    rows = [[metric, *(percent(figures[order][metric]) for order in orders)] for metric in metrics]
    return Table('Accuracy by order of the frames', ['figure', *orders], rows, numeric=True)


def _report(content: Mapping) -> Table:
    """``report.json`` of the quickstart."""
    scratch = content['results'].get('scratch', {})
    rows = []
    for method, figures in content['results'].items():
        if method != 'scratch':
            gain = figures['mean'] - scratch[method]['mean']
            rows.append([method.upper(), _spread(figures), _spread(scratch[method]), f'{100 * gain:+.1f}'])
    if not rows:
        raise ValueError('no results')
    return Table(f'Top-1 in %, mean ± standard deviation over seeds; chance is {percent(content["chance"])}',
                 ['method', 'pre-trained', 'from scratch', 'gain'], rows, numeric=True)


def _spread(figures: Mapping) -> str:
    return f'{100 * figures["mean"]:.1f} ± {100 * figures["std"]:.1f}'


def _keys(content, name: str) -> Table:
    return _cut(name, ['key', 'value'], [[key, _text(value)] for key, value in _flat(content, '')])


def _flat(content, place: str) -> Iterator[tuple[str, object]]:
    """Keys with dots between; short lists of numbers and texts stay whole."""
    if isinstance(content, Mapping) and content:
        for key, value in content.items():
            yield from _flat(value, f'{place}.{key}' if place else str(key))
    elif isinstance(content, list) and any(isinstance(value, (Mapping, list)) for value in content):
        for number, value in enumerate(content):
            yield from _flat(value, f'{place}[{number}]')
    else:
        yield place, content


def _text(value) -> str:
    if isinstance(value, float):
        return f'{value:.6g}'
    if isinstance(value, list):
        shown = ', '.join(_text(one) for one in value[:20])
        return shown + (f', ... ({len(value)} in all)' if len(value) > 20 else '')
    return value if isinstance(value, str) else json.dumps(value)


def _cut(caption: str, columns: Sequence[str], rows: list[list[str]]) -> Table:
    note = f'The first {MAX_ROWS} of {len(rows)} rows; the file has all.' if len(rows) > MAX_ROWS else ''
    return Table(caption, columns, rows[:MAX_ROWS], note)
