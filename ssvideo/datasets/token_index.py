"""The videos of a finished token store: names, lengths, labels; mapped into memory, however many there are."""
from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..utils.files import write_whole
from .token_shard import VideoRecord


class IndexRow(NamedTuple):
    """A video in ``videos.npy``: where its name ends in ``names.bin`` (it begins where the last one ends), frames, label or
    -1, checksum of its ids, position of its shard in the manifest, and where in it its bytes are."""
    name_end: int
    num_frames: int
    label: int
    checksum: int
    shard: int
    offset: int
    num_bytes: int


ROW = np.dtype(list(zip(IndexRow._fields, ('<u8', '<u4', '<i8', '<u8', '<u4', '<u8', '<u8'))))


class StoredVideo(NamedTuple):
    """A video of a store; ``label`` is None where there is none."""
    name: str
    num_frames: int
    label: int | None


class VideoIndex(Sequence):
    """The videos of a store in the order of their names, whatever shards they are in.

    Opening maps four files and reads none of them; processes share the memory.

    Args:
        folder: with ``names.bin``, ``videos.npy``, ``hashes.npy`` (of the names, sorted) and ``numbers.npy`` (whose hash).

    Attributes:
        rows: of ``ROW``, one for each video.
        hashes: of the names, ``<u8``, sorted.

    Raises:
        ValueError: if a file is missing or damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        try:
            self.rows, self.hashes, self._numbers = (
                np.asarray(np.load(folder / f'{name}.npy', mmap_mode='r')) for name in ('videos', 'hashes', 'numbers'))
            size = int(self.rows['name_end'][-1]) if len(self.rows) else 0
            self._names = np.memmap(folder / 'names.bin', np.uint8, 'r', shape=(size,)) if size else np.zeros(0, np.uint8)
        except (OSError, ValueError) as error:
            raise ValueError(f'the index {folder} is damaged ({error}): run tools/extract_tokens.py again, which finds '
                             'the videos in their shards and writes the index anew') from error
        self._names = memoryview(self._names)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> StoredVideo:
        if not -len(self) <= number < len(self):
            raise IndexError(f'there are {len(self)} videos, got the number {number}')
        row = self.row(number % len(self))
        return StoredVideo(os.fsdecode(self.name(number % len(self))), row.num_frames, None if row.label < 0 else row.label)

    def row(self, number: int) -> IndexRow:
        """What ``videos.npy`` says of a video."""
        return IndexRow(*self.rows[number].item())

    def name(self, number: int) -> bytes:
        """The encoded name of a video."""
        ends = self.rows['name_end']
        return bytes(self._names[int(ends[number - 1]) if number else 0:int(ends[number])])

    def record(self, number: int) -> VideoRecord:
        """What the index says of a video, as its shard should."""
        row = self.row(number)
        return VideoRecord(self.name(number), row.num_frames, row.label, row.checksum, row.offset, row.num_bytes)

    def find(self, name: str) -> int:
        """The number of a video.

        Raises:
            KeyError: if there is none of that name.
        """
        encoded = os.fsencode(name)
        for number in self._hashed(np.uint64(_hash(encoded))):
            if self.name(number) == encoded:
                return number
        raise KeyError(f'there is no video {name!r}')

    def records_hashed(self, hashed: np.uint64) -> list[VideoRecord]:
        """The videos (nearly always one) whose name has a hash out of ``hashes``."""
        return [self.record(number) for number in self._hashed(hashed)]

    def _hashed(self, hashed: np.uint64) -> Iterator[int]:
        for position in range(int(np.searchsorted(self.hashes, hashed)), len(self)):
            if self.hashes[position] != hashed:
                return
            yield int(self._numbers[position])

    def checksum(self) -> str:
        """Of the names, lengths and labels: equal where stores hold the same videos, as the views of one list do."""
        digest = hashlib.sha256(self._names)
        for field in ('name_end', 'num_frames', 'label'):
            digest.update(np.ascontiguousarray(self.rows[field]))
        return digest.hexdigest()[:16]


def write_index(folder: Path, records: Iterable[tuple[VideoRecord, int]]) -> None:
    """Write the index of some videos.

    Args:
        folder: for its files.
        records: each with the number of its shard. One video in two shards counts once.

    Raises:
        ValueError: if a name stands for different videos.
    """
    found = _without_repetitions(sorted(records))
    rows = np.zeros(len(found), ROW)
    rows['name_end'] = np.cumsum([len(record.name) for record, _ in found])
    for field in ('num_frames', 'label', 'checksum', 'offset', 'num_bytes'):
        rows[field] = [getattr(record, field) for record, _ in found]
    rows['shard'] = [shard for _, shard in found]
    hashes = np.array([_hash(record.name) for record, _ in found], '<u8')
    order = np.argsort(hashes)
    write_whole(folder / 'names.bin', b''.join(record.name for record, _ in found))
    for name, array in (('videos', rows), ('hashes', hashes[order]), ('numbers', order.astype('<u4'))):
        _write_array(folder / f'{name}.npy', array)


def _without_repetitions(found: list[tuple[VideoRecord, int]]) -> list[tuple[VideoRecord, int]]:
    kept = []
    for record, shard in found:
        if not kept or kept[-1][0].name != record.name:
            kept.append((record, shard))
        elif kept[-1][0].content != record.content:
            raise ValueError(f'{os.fsdecode(record.name)!r} has different tokens or labels in the shards {kept[-1][1]} and '
                             f'{shard}: remove one of the two')
    return kept


def _write_array(path: Path, array: np.ndarray) -> None:
    file = io.BytesIO()
    np.save(file, array)
    write_whole(path, file.getbuffer())


def _hash(name: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), 'little')
