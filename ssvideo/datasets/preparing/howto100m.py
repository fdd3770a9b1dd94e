"""HowTo100M."""
from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from .release import Named, Release, find_file, read_rows


def read_howto100m(folder: Path) -> Release:
    """Read ``HowTo100M_v1.csv``, one row a video, of which only ``video_id`` counts: pre-training has no labels.

    Source: HowTo100M, arXiv:1906.03327.
    """
    file = find_file(folder, 'HowTo100M_v1.csv')
    release = Release(None, {})
    release.splits = dict(train=_read(file, release))
    return release


def _read(file: Path, release: Release) -> Iterator[Named]:
    for number, row in read_rows(file, 'video_id'):
        if re.fullmatch(r'[\w-]+', row['video_id'], re.ASCII):
            yield row['video_id'], None
        else:
            release.call_odd(file, number, ','.join(row.values()))
