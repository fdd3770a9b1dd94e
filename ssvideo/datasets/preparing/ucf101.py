"""UCF101."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .release import Named, Release, find_file, read_lines


def read_ucf101(folder: Path) -> Release:
    """Read ``classInd.txt`` and ``trainlist01.txt`` to ``testlist03.txt`` of the folder ``ucfTrainTestlist``.

    ``classInd.txt`` numbers the classes from 1; labels start at 0. A line of a list is ``Class/video.avi``, in training
    with the number of the class after it.

    Raises:
        ValueError: if a file is missing, or ``classInd.txt`` does not number the classes 1, 2, ...

    Source: UCF101, arXiv:1212.0402.
    """
    file = find_file(folder, 'classInd.txt')
    pairs = [line.split(maxsplit=1) for _, line in read_lines(file)]
    if [pair[0] for pair in pairs] != [str(number) for number in range(1, len(pairs) + 1)] or min(map(len, pairs)) < 2:
        raise ValueError(f"{file}: expected lines such as '1 ApplyEyeMakeup', numbered from 1 in order")
    release = Release([name for _, name in pairs], {}, together='videos')
    release.splits = {f'{part}_{split}': _read(find_file(folder, f'{part}list0{split}.txt'), release)
                      for split in (1, 2, 3) for part in ('train', 'test')}
    return release


def _read(file: Path, release: Release) -> Iterator[Named]:
    for number, line in read_lines(file):
        path, _, label = line.partition('.avi')
        class_name, _, video = path.rpartition('/')
        label = label.strip()
        agrees = not label or label.isdecimal() and release.classes[int(label) - 1:int(label)] == [class_name]
        if class_name and video and '.avi' in line and agrees:
            yield path, class_name
        else:
            release.call_odd(file, number, line)
