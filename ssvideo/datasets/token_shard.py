"""A shard of a token store: a file of ids that only grows, and an LMDB file that says what is in it."""
from __future__ import annotations

import fcntl
import hashlib
import json
import mmap
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import lmdb

from .token_manifest import all_differences

_MANIFEST, _END, _RECORD = b'manifest', b'end', b'i'  # keys: settings; bytes of ids that count; and, with a name, a record
_HEADER = struct.Struct('<QQQIq')
_MAP_SIZE = 1 << 36  # address space for the LMDB file, some hundred bytes a video


class VideoRecord(NamedTuple):
    """What a shard says of a video: its name, frames, label (-1: none), checksum of its ids, and where its bytes are."""
    name: bytes
    num_frames: int
    label: int
    checksum: int
    offset: int = 0
    num_bytes: int = 0

    @property
    def content(self) -> tuple[bytes, int, int, int]:
        """What tells a video from another, wherever it is stored."""
        return self[:4]

    def pack(self) -> bytes:
        """As stored."""
        return _HEADER.pack(self.offset, self.num_bytes, self.checksum, self.num_frames, self.label) + self.name

    @classmethod
    def unpack(cls, stored: bytes) -> VideoRecord:
        """From what is stored."""
        offset, num_bytes, checksum, num_frames, label = _HEADER.unpack_from(stored)
        return cls(stored[_HEADER.size:], num_frames, label, checksum, offset, num_bytes)


class ShardWriter:
    """Adds videos to a shard; they are on disk, whole, when :meth:`put` returns, and whatever happens then.

    Ids are written behind those that count, then counted in one transaction. What a process that was killed has left
    uncounted is overwritten by the next.

    Args:
        folder: of the shard.
        settings: that all its videos share.

    Raises:
        ValueError: if the shard was begun with other settings, another process is writing to it, or a file is damaged.
    """

    def __init__(self, folder: Path, settings: Mapping) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(folder)
        self._env = _open_lmdb(folder, map_size=_MAP_SIZE)
        with self._env.begin(write=True) as transaction:
            if transaction.get(_MANIFEST) is None:
                transaction.put(_MANIFEST, json.dumps(settings).encode())
                transaction.put(_END, b'0')
            begun, self._end = json.loads(transaction.get(_MANIFEST)), int(transaction.get(_END))
        (folder / 'tokens.bin').touch()
        self._ids = open(folder / 'tokens.bin', 'r+b')  # noqa: SIM115 (until close)
        try:
            if differing := all_differences(begun, settings):
                raise ValueError(f'{folder} was begun with other settings ({"; ".join(differing)}): write to another folder, '
                                 'or remove this one')
            check_size(folder / 'tokens.bin', self._end)
        except ValueError:
            self.close()
            raise

    def __contains__(self, name: bytes) -> bool:
        with self._env.begin() as transaction:
            return transaction.get(_key(name)) is not None

    def __len__(self) -> int:
        return self._env.stat()['entries'] - 2  # the settings and the end

    def put(self, videos: Iterable[tuple[VideoRecord, bytes]]) -> None:
        """Add some videos and their bytes, all or none of them. Where the bytes go is written into the records."""
        records, end = [], self._end
        self._ids.seek(end)
        for record, stored in videos:
            self._ids.write(stored)
            records.append(record._replace(offset=end, num_bytes=len(stored)))
            end += len(stored)
        self._ids.flush()
        os.fdatasync(self._ids.fileno())
        with self._env.begin(write=True) as transaction:
            for record in records:
                transaction.put(_key(record.name), record.pack())
            transaction.put(_END, str(end).encode())
        self._end = end

    def close(self) -> None:
        """Close the files."""
        self._ids.close()
        self._env.close()
        self._lock.close()


def shard_folder(path: Path, shard: int) -> Path:
    """Where a store has its shard of that number."""
    return path / f'shard-{shard:05d}'


def shard_folders(path: Path) -> list[Path]:
    """The shards that there are, in order."""
    return sorted(file.parent for file in path.glob('shard-*/data.mdb'))


def settings_of(folder: Path) -> dict:
    """The settings that a shard was begun with; none for one whose process was killed at its very start."""
    with _reading(folder) as transaction:
        return json.loads(transaction.get(_MANIFEST) or b'{}')


def records_of(folder: Path) -> Iterator[VideoRecord]:
    """What a shard says of its videos, in the order of their keys.

    Raises:
        ValueError: if its LMDB file is damaged.
    """
    with _reading(folder) as transaction:
        cursor = transaction.cursor()
        cursor.set_range(_RECORD)
        for key, stored in cursor:
            if not key.startswith(_RECORD):
                return
            if len(stored) < _HEADER.size or key != _key(stored[_HEADER.size:]):
                raise ValueError(f'{folder}/data.mdb is damaged: the record {key!r} is none of a video. {_ADVICE}')
            yield VideoRecord.unpack(stored)


def mapped(folder: str | Path) -> mmap.mmap:
    """The ids of a shard, mapped for reading here and there."""
    with open(Path(folder, 'tokens.bin'), 'rb') as file:
        ids = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    ids.madvise(mmap.MADV_RANDOM)  # no read-ahead: clips lie anywhere
    return ids


def check_size(file: Path, expected: int) -> None:
    """Compare the length of a file before it is mapped, as touching what lies beyond its end would kill the process.

    Raises:
        ValueError: if the file is shorter than it was.
    """
    size = file.stat().st_size if file.is_file() else 0
    if size < expected:
        raise ValueError(f'{file} is truncated: it has {size} of {expected} bytes. {_ADVICE}')


_ADVICE = 'Copy it again, or remove its folder and run tools/extract_tokens.py, which extracts what is missing'


@contextmanager
def _reading(folder: Path) -> Iterator[lmdb.Transaction]:
    env = _open_lmdb(folder, readonly=True, lock=False)
    try:
        with env.begin() as transaction:
            yield transaction
    except lmdb.Error as error:
        raise ValueError(f'{folder}/data.mdb is damaged ({error}). {_ADVICE}') from error
    finally:
        env.close()


def _open_lmdb(folder: Path, **options) -> lmdb.Environment:
    try:
        env = lmdb.open(str(folder), **options)
    except lmdb.Error as error:
        raise ValueError(f'{folder}/data.mdb is damaged ({error}). {_ADVICE}') from error
    try:
        if env.stat()['entries']:
            check_size(folder / 'data.mdb', (env.info()['last_pgno'] + 1) * env.stat()['psize'])
    except ValueError:
        env.close()
        raise
    return env


def _key(name: bytes) -> bytes:
    return _RECORD + (name if len(name) <= 400 else hashlib.sha256(name).digest())  # LMDB: 511 bytes at most


def _locked(folder: Path):
    """The shard's lock. It ends with the process, however that ends, and its children do not have it."""
    file = open(folder / 'writer.lock', 'w')  # noqa: SIM115 (until the shard is closed)
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise ValueError(f'another process is writing to {folder}: wait for it, or write to another folder') from None
    return file
