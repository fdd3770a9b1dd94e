"""Kinetics-400, -600, -700 and -700-2020."""
from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from .release import Named, Release, find_file, read_rows


def read_kinetics(folder: Path) -> Release:
    """Read ``train.csv`` and ``val.csv`` (or ``validate.csv``), columns label, youtube_id, time_start, time_end, ...

    Videos are called ``<youtube_id>_<start>_<end>``, both in seconds with six digits, as the public crawler and the
    copies of the CVDF name them. Labels are the class names of ``train.csv`` in alphabetical order, blanks before letters.

    Source: Kinetics, arXiv:1705.06950, and the later releases, arXiv:1808.01340, 1907.06987 and 2010.10864.
    """
    files = dict(train=find_file(folder, 'train.csv', '*[_-]train.csv'),
                 val=find_file(folder, 'val.csv', 'validate.csv', '*[_-]val.csv'))
    release = Release(None, {}, together='videos')
    release.splits = {split: list(_read(file, release)) for split, file in files.items()}
    release.classes = sorted({label for _, label in release.splits['train']})
    return release


def _read(file: Path, release: Release) -> Iterator[Named]:
    for number, row in read_rows(file, 'label', 'youtube_id', 'time_start', 'time_end'):
        video, start, end = row['youtube_id'], row['time_start'], row['time_end']
        # an id that begins with - or = has become #NAME? in copies that went through a spreadsheet
        if row['label'] and re.fullmatch(r'[\w-]+', video, re.ASCII) and start.isdecimal() and end.isdecimal():
            yield f'{video}_{int(start):06d}_{int(end):06d}', row['label']
        else:
            release.call_odd(file, number, ','.join(row.values()))
