"""Something-Something V2."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .release import Named, Release, find_file, read_json


def read_something_something(folder: Path) -> Release:
    """Read ``labels.json``, ``train.json`` and ``validation.json``, also under the names of the first release.

    A video's class is its ``template`` without brackets, and the label is the number that ``labels.json`` gives it. The
    test split has no labels in ``test.json``, and no recipe reads it.

    Raises:
        ValueError: if a file is missing, or the numbers of ``labels.json`` are not 0, 1, ...

    Source: Something-Something, arXiv:1706.04261.
    """
    names = {part: find_file(folder, f'{part}.json', f'something-something-v2-{part}.json')
             for part in ('labels', 'train', 'validation')}
    labels = {int(number): name for name, number in read_json(names['labels'], dict).items()}
    if sorted(labels) != list(range(len(labels))):
        raise ValueError(f'{names["labels"]}: expected the numbers 0 to {len(labels) - 1}, once each')
    release = Release([labels[number] for number in range(len(labels))], {}, together='videos')
    release.splits = dict(train=_read(names['train'], release), val=_read(names['validation'], release))
    return release


def _read(file: Path, release: Release) -> Iterator[Named]:
    for number, item in enumerate(read_json(file, list), 1):
        if isinstance(item, dict) and item.get('id') and isinstance(item.get('template'), str):
            yield str(item['id']), item['template'].replace('[', '').replace(']', '')
        else:
            release.call_odd(file, number, item)
