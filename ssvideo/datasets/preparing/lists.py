"""Lists of a release's videos that are there, and what is missing or odd."""
from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ...utils.files import write_whole
from .media_files import MediaFiles
from .release import Named, Release


@dataclass
class FoundList:
    """One list: the videos that are there, and what became of the others.

    Args:
        name: of the list, without suffix.
        num_named: videos that the annotations name.
        entries: paths below the root of the files, with labels, in the order of the annotations.
        missing: names without a file.
        problems: one line for each name that is not what it should be.
    """

    name: str
    num_named: int = 0
    entries: dict[str, int | None] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def find_videos(name: str, videos: Iterable[Named], classes: list[str] | None, files: MediaFiles) -> FoundList:
    """Look up the videos of one list.

    A name with several files takes the first of them; a video that is named again is taken once; one of an unknown class
    is left out. Each is a problem of the list.

    Args:
        name: of the list.
        videos: names and classes.
        classes: their names in the order of the labels; None: no labels.
        files: where to look.
    """
    labels = None if classes is None else {class_name: label for label, class_name in enumerate(classes)}
    found = FoundList(name)
    for video, class_name in videos:
        found.num_named += 1
        paths = files.find(video)
        if labels is not None and class_name not in labels:
            found.problems.append(f'unknown class {class_name!r}: {video}')
        elif not paths:
            found.missing.append(video)
        elif not _fits_a_line(paths[0]):
            found.problems.append(f'a list cannot hold this path, rename it: {paths[0]!r}')
        elif paths[0] in found.entries:
            found.problems.append(f'named twice: {video}')
        else:
            found.entries[paths[0]] = None if labels is None else labels[class_name]
            if len(paths) > 1:
                found.problems.append(f'several files, the first is taken: {" and ".join(paths)}')
    return found


def find_lists(release: Release, files: MediaFiles, progress: Callable[[Iterable], Iterable] = iter) -> list[FoundList]:
    """Look up all lists of a release.

    Args:
        release: as its annotations say.
        files: of the data set.
        progress: is given the videos and returns them, as ``tqdm`` does.
    """
    lists = [find_videos(name, progress(videos), release.classes, files) for name, videos in release.splits.items()]
    for number, later in enumerate(lists):
        for earlier in lists[:number]:
            if earlier.name.partition('_')[2] == later.name.partition('_')[2]:  # of one split
                later.problems += [f'also in {earlier.name}.txt: {path}' for path in later.entries if path in earlier.entries]
    return lists


def write_lists(out: Path, release: Release, lists: list[FoundList]) -> list[str]:
    """Write each list, the list of all of them, ``classes.txt``, ``missing.txt`` and ``problems.txt``.

    Each file is whole or as it was before. The last two are written even if there is nothing to say, so that those of an
    earlier run do not stay.

    Args:
        out: folder.
        release: what the lists were made from.
        lists: of ``find_lists``.

    Returns:
        The names of the lists.
    """
    write_whole(out / 'missing.txt', _encoded(f'{made.name} {video}' for made in lists for video in made.missing))
    write_whole(out / 'problems.txt', _encoded([*(f'odd line: {line}' for line in release.odd),
                                               *(f'{made.name}: {line}' for made in lists for line in made.problems)]))
    if release.classes is not None:
        write_whole(out / 'classes.txt', _encoded(release.classes))
    named = {made.name: made.entries for made in lists}
    if release.together is not None:
        named[release.together] = {path: label for made in lists for path, label in made.entries.items()}
    for name, entries in named.items():
        write_list(out / f'{name}.txt', entries.items())
    return list(named)


def write_list(file: Path, entries: Iterable[tuple[str, int | None]]) -> None:
    """Write one ``path``, or ``path label``, a line, as ``VideoList`` reads them; the file is whole or as it was before."""
    write_whole(file, _encoded(path if label is None else f'{path} {label}' for path, label in entries))


def _encoded(lines: Iterable[str]) -> bytes:
    # a file name of no valid encoding keeps its bytes
    return b''.join(os.fsencode(line) + b'\n' for line in lines)


def _fits_a_line(path: str) -> bool:
    encoded = os.fsencode(path)
    return encoded == encoded.strip() and b'\n' not in encoded
