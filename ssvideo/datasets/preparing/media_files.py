"""The media files of a folder, found in one scan and looked up by name."""
from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path


class MediaFiles:
    """The media files below a folder, by name. Folders are read once; no file is opened or asked for its size.

    Args:
        root: searched with its sub-folders; links to folders are followed.
        suffixes: of the files that count, in lower case, with the dot.
        folders: sub-folders of ``root`` to search in place of all of it; those that are not there are passed over.
        progress: is given the iterable of files and returns one, as ``tqdm`` does.

    Raises:
        ValueError: if ``root`` is not a folder, or holds no such file.
    """

    def __init__(self, root: str | Path, suffixes: frozenset[str], folders: Iterable[str] = ('',),
                 progress: Callable[[Iterable], Iterable] = iter):
        root = str(root).rstrip(os.sep) or os.sep
        if not os.path.isdir(root):
            raise ValueError(f'{root} is not a folder; expected the one with the files of the data set')
        self.root = root
        # name -> (folder below root, suffix). The pairs are shared: a million files of a folder cost one of them
        self.places: dict[str, tuple[str, str]] = {}
        self.doubles: dict[str, list[tuple[str, str]]] = {}  # further files of the same name
        shared: dict[tuple[str, str], tuple[str, str]] = {}
        for folder, file in progress(_scan(root, folders)):
            name, suffix = os.path.splitext(file)
            if suffix.lower() in suffixes:
                place = shared.setdefault((folder, suffix), (folder, suffix))
                if self.places.setdefault(name, place) is not place:
                    self.doubles.setdefault(name, []).append(place)
        if not self.places:
            raise ValueError(f'{root} holds no file that ends with {", ".join(sorted(suffixes))}')

    def __len__(self) -> int:
        """Files, not names."""
        return len(self.places) + sum(map(len, self.doubles.values()))

    def __iter__(self) -> Iterator[str]:
        """The paths below ``root``, in no order."""
        for name, (folder, suffix) in self.places.items():
            yield os.path.join(folder, name + suffix)
        for name, places in self.doubles.items():
            yield from (os.path.join(folder, name + suffix) for folder, suffix in places)

    def find(self, name: str) -> list[str]:
        """The files of a name.

        Args:
            name: without suffix; folders in front of it, as in ``'walk/clip_3'``, decide between files of the same name
                where some lie in such a folder, and are otherwise not asked for: people sort files anew.

        Returns:
            Paths below ``root``, sorted. More than one: the name does not say which.
        """
        folder, _, name = name.rpartition('/')
        if name not in self.places:
            return []
        places = [self.places[name], *self.doubles.get(name, ())]
        if len(places) > 1 and folder:
            places = [place for place in places if f'/{place[0]}'.endswith(f'/{folder}')] or places
        return sorted(os.path.join(folder, name + suffix) for folder, suffix in places)


def _scan(root: str, folders: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Folder below ``root`` and name of each file."""
    seen, waiting = set(), [folder for folder in folders if os.path.isdir(os.path.join(root, folder))]
    while waiting:
        folder = waiting.pop()
        current = os.path.join(root, folder)
        real = os.path.realpath(current)
        if real in seen:  # a link that leads back up
            continue
        seen.add(real)
        with os.scandir(current) as found:
            for entry in found:
                if entry.is_dir():
                    waiting.append(os.path.join(folder, entry.name))
                else:
                    yield folder, entry.name
