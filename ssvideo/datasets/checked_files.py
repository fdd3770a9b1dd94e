"""Which files of a list have been decoded to the last frame, and are still the same files."""
from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ..utils.safetensors_file import read_safetensors, write_safetensors

FORMAT = 'ssvideo.checked/1'
SUFFIX = '.checked'
"""Of the file beside a list."""


class Stamp(NamedTuple):
    """What tells whether a file is the one that was decoded to the last frame.

    Args:
        size: in bytes; negative: it was not decoded so.
        mtime_ns: when it was last written, in ns.
    """
    size: int = -1
    mtime_ns: int = -1

    @classmethod
    def of(cls, path: str | Path) -> Stamp:
        """That of a file; of one that is not there, as of one that was never decoded."""
        try:
            found = os.stat(path)
        except OSError:
            return cls()
        return cls(found.st_size, found.st_mtime_ns)

    def why_not(self, path: str | Path) -> str | None:
        """The reason why a file cannot be relied on to decode without damage; None if it can."""
        if self.size < 0:
            return ('it does not tell damaged frames, and the file is of no list that tools/data/check_videos.py has written '
                    'after decoding all frames')
        if Stamp.of(path) != self:
            return 'it does not tell damaged frames, and the file was changed since tools/data/check_videos.py decoded it'
        return None


class CheckedFiles:
    """What ``tools/data/check_videos.py`` has noted beside a list that it wrote.

    The note holds for the very bytes of the list, so a list that was changed counts as one that was never checked. Files
    are not looked at here, but when they are decoded, by their :class:`Stamp`.

    Args:
        source: the list, or a folder, of which nothing is noted.
        num_entries: of the list.

    Raises:
        ValueError: if there is a note that cannot be read, or is of a later version.
    """

    def __init__(self, source: Path, num_entries: int) -> None:
        self.stamps = np.zeros((0, 2), np.int64)
        note = _note_of(source)
        if not source.is_file() or not note.is_file():
            return
        metadata, tensors = read_safetensors(note)
        if metadata.get('format') != FORMAT:
            raise ValueError(f'{note} has the format {metadata.get("format")!r}, expected {FORMAT!r}: check the list again with '
                             'tools/data/check_videos.py, or remove the file')
        stamps = tensors['stamps'].numpy()
        if metadata['sha256'] == _digest(source) and stamps.shape == (num_entries, 2):
            self.stamps = stamps

    def __getitem__(self, index: int) -> Stamp:
        """The stamp of the file of an entry."""
        return Stamp(*map(int, self.stamps[index])) if len(self.stamps) else Stamp()


def note_checked(source: Path, stamps: Sequence[Stamp]) -> None:
    """Note beside a list which files its entries were when they were decoded.

    Args:
        source: the list, as it stays.
        stamps: one for each entry.
    """
    metadata = dict(format=FORMAT, sha256=_digest(source))
    write_safetensors(_note_of(source), dict(stamps=torch.tensor(stamps, dtype=torch.int64).view(-1, 2)), metadata)


def forget_checked(source: Path) -> None:
    """Remove the note beside a list, where there is one."""
    _note_of(source).unlink(missing_ok=True)


def _note_of(source: Path) -> Path:
    return source.with_name(source.name + SUFFIX)


def _digest(source: Path) -> str:
    with open(source, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()
