"""HMDB51."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .release import Named, Release, find_file, read_lines

PARTS = dict(train='1', test='2')  # 0: the video is not used in this split


def read_hmdb51(folder: Path) -> Release:
    """Read ``<class>_test_split<1, 2, 3>.txt`` of the folder ``testTrainMulti_7030_splits``.

    A line is ``video.avi N``: 1 is for training, 2 for testing, 0 for neither. Labels are the class names in
    alphabetical order.

    Raises:
        ValueError: if there are no such files, or a class lacks a split.

    Source: HMDB51, ICCV 2011.
    """
    classes = sorted({file.name.rpartition('_test_split')[0] for file in folder.glob('*_test_split[123].txt')})
    if not classes:
        raise ValueError(f'{folder} holds no <class>_test_split1.txt; expected the folder testTrainMulti_7030_splits')
    release = Release(classes, {}, together='videos')
    for split in (1, 2, 3):
        files = {name: find_file(folder, f'{name}_test_split{split}.txt') for name in classes}
        videos = list(_read(files, release))
        for part, value in PARTS.items():
            release.splits[f'{part}_{split}'] = [named for named, kind in videos if kind == value]
    return release


def _read(files: dict[str, Path], release: Release) -> Iterator[tuple[Named, str]]:
    for class_name, file in files.items():
        for number, line in read_lines(file):
            video, _, kind = line.rpartition(' ')
            video = video.strip()
            if video.endswith('.avi') and kind in ('0', '1', '2'):
                yield (f'{class_name}/{video.removesuffix(".avi")}', class_name), kind
            else:
                release.call_odd(file, number, line)
