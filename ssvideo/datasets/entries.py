"""What a list of media files or a folder of them holds: paths and labels, packed so that workers share the memory."""
from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np


class Entries:
    """Paths, and perhaps labels, in three flat arrays: no Python object per entry, so that forked workers share them.

    Args:
        paths: the paths, in order.
        labels: as many class ids, or None.
    """

    def __init__(self, paths: Iterable[bytes], labels: Iterable[int] | None = None):
        blob, ends = bytearray(), array('q')
        for path in paths:
            blob += path
            ends.append(len(blob))
        self.blob = np.frombuffer(bytes(blob), np.uint8)
        self.ends = np.frombuffer(ends, np.int64) if ends else np.zeros(0, np.int64)
        self.labels = None if labels is None else np.asarray(labels, np.int64)
        if self.labels is not None and len(self.labels) != len(self.ends):
            raise ValueError(f'{len(self.ends)} paths but {len(self.labels)} labels')

    def __len__(self) -> int:
        return len(self.ends)

    def path(self, index: int) -> str:
        """The path of entry ``index``."""
        start = self.ends[index - 1] if index else 0
        return os.fsdecode(self.blob[start:self.ends[index]].tobytes())

    def label(self, index: int) -> int | None:
        """The class id of entry ``index``, None where there are no labels."""
        return None if self.labels is None else int(self.labels[index])


def read_list(file: str | Path, labels: bool | None = None, delimiter: str = ' ') -> Entries:
    """Read an annotation file: one ``path``, or ``path<delimiter>label``, a line.

    A label is what follows the *last* delimiter, so paths may hold blanks. Empty lines are skipped; there are no
    comments, as ``#`` may begin a path.

    Args:
        file: a text file.
        labels: whether lines end with a label: True, False (the whole line is the path), or None to find out: all or
            none of the lines must then end with the delimiter and a whole number.
        delimiter: between path and label.

    Raises:
        ValueError: with file, line number and text, if a line is not as ``labels`` says, or if some lines have labels
            and others have none.
    """
    if not delimiter:
        raise ValueError("delimiter must not be empty: it stands between path and label, as in 'a.mp4 3'")
    ids, odd = array('q'), {}
    paths = read_lines(file) if labels is False else _split_labels(file, delimiter.encode(), ids, odd)
    entries = Entries(paths)
    if labels is False or (labels is None and not ids):
        return entries if labels is False or not odd else read_list(file, False, delimiter)
    if odd:
        number, line = next(iter(odd.items()))
        advice = '' if labels else ', while others have one. Say labels=True or labels=False'
        raise ValueError(f'{file}, line {number}: {line!r} does not end with {delimiter!r} and a label{advice}')
    entries.labels = np.frombuffer(ids, np.int64) if ids else np.zeros(0, np.int64)
    return entries


def read_lines(file: str | Path) -> Iterator[bytes]:
    """The lines of an annotation file that hold something, without blanks around them: line i is entry i."""
    for _, line in _numbered_lines(file):
        yield line


def _numbered_lines(file) -> Iterator[tuple[int, bytes]]:
    with open(file, 'rb') as stream:
        for number, line in enumerate(stream, 1):
            line = line.removeprefix(b'\xef\xbb\xbf').strip() if number == 1 else line.strip()
            if line:
                yield number, line


def _split_labels(file, delimiter: bytes, ids: array, odd: dict[int, str]) -> Iterator[bytes]:
    """Yield paths and collect their labels; the first line without a label goes to ``odd``."""
    for number, line in _numbered_lines(file):
        path, _, label = line.rpartition(delimiter)
        label = label.strip()
        if path and label.isdigit():
            ids.append(int(label))
            yield path.strip()
        else:
            if not odd:
                odd[number] = os.fsdecode(line)
            yield line


def read_folder(folder: str | Path, suffixes: frozenset[str], labels: bool | None = None,
                class_names: list[str] | None = None) -> tuple[Entries, list[str] | None]:
    """Find the media files below a folder; its sub-folders are classes if two or more of them hold such files.

    Args:
        folder: searched recursively, in sorted order; links to folders are followed.
        suffixes: of the files that count, in lower case, with the dot.
        labels: True: the sub-folders are classes; False: they are not; None: they are if two or more hold files and
            none lies beside them.
        class_names: the sub-folders' names in the order of the labels; None: sorted.

    Returns:
        The entries, with paths below ``folder``, and the class names where there are labels.

    Raises:
        ValueError: if ``labels=True`` and a file lies outside of a class folder, or a sub-folder is not in
            ``class_names``.
    """
    prefix = len(os.path.join(str(folder), ''))
    relative = sorted(path[prefix:] for path in _find(str(folder), suffixes))
    tops = [path.partition(os.sep)[0] if os.sep in path else None for path in relative]
    found = set(tops)
    if labels is None:
        labels = len(found) > 1 and None not in found
    encoded = (os.fsencode(path) for path in relative)
    if not labels:
        return Entries(encoded), None
    if None in found:
        raise ValueError(f'{folder}: labels=True takes the sub-folders as classes, but {relative[tops.index(None)]} '
                         'lies outside of one. Move it, or say labels=False')
    names = sorted(found) if class_names is None else list(class_names)
    if unknown := sorted(found.difference(names)):
        raise ValueError(f'{folder}: sub-folder {unknown[0]!r} is not in class_names ({len(names)} names)')
    ids = {name: number for number, name in enumerate(names)}
    return Entries(encoded, [ids[top] for top in tops]), names


def _find(folder: str, suffixes: frozenset[str]) -> Iterator[str]:
    seen, waiting = set(), [folder]
    while waiting:
        current = waiting.pop()
        real = os.path.realpath(current)
        if real in seen:  # a link that leads back up
            continue
        seen.add(real)
        with os.scandir(current) as found:
            for entry in found:
                if entry.is_dir():
                    waiting.append(entry.path)
                elif os.path.splitext(entry.name)[1].lower() in suffixes:
                    yield entry.path
