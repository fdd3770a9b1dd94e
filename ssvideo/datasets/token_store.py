"""Tokens of many videos on disk, read clip by clip."""
from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import lmdb
import numpy as np
import torch
from torch import Tensor

from ..utils.files import write_whole
from ..version import __version__

FORMAT = 'ssvideo.tokens/1'
SPECIFIED = ('tokenizer', 'fps', 'size', 'grid', 'vocab_size')
"""What a manifest must say of every video: checksum of the tokenizer, frames per second, (height, width) of the frames
that were tokenized, (h, w) of the tokens, number of ids."""


class StoredVideo(NamedTuple):
    """One line of a store's index; ``label`` is None where there is none."""
    name: str
    num_frames: int
    label: int | None


class TokenStoreWriter:
    """Writes one shard of a store; every video is on disk, whole, when :meth:`write` returns.

    A store that was cut off is taken up again by opening it with the same manifest: ``name in writer`` tells what is
    there. It can be read after :meth:`close`.

    Args:
        path: folder of the store.
        manifest: see ``SPECIFIED``; further entries (crop, flip) are kept.
        shard: number of this shard; each process writes its own.
        map_size: largest size of the shard in bytes (address space, not disk).

    Raises:
        ValueError: if the manifest lacks an entry, or differs from the one that the shard was begun with.
    """

    def __init__(self, path: str | Path, manifest: Mapping, shard: int = 0, map_size: int = 1 << 42) -> None:
        if missing := [key for key in SPECIFIED if key not in manifest]:
            raise ValueError(f'the manifest of a token store needs {list(SPECIFIED)}; {missing} are missing')
        self.manifest = json.loads(json.dumps(dict(manifest) | dict(format=FORMAT)))
        self.path = Path(path)
        self.folder = self.path / f'shard-{shard:05d}'
        self.folder.mkdir(parents=True, exist_ok=True)
        self._dtype = _id_type(manifest['vocab_size'])
        _forget(self.folder)
        self._env = lmdb.open(str(self.folder), map_size=map_size)
        self._check_begun_alike()

    def _check_begun_alike(self) -> None:
        with self._env.begin(write=True) as transaction:
            begun = transaction.get(b'manifest')
            if begun is None:
                transaction.put(b'manifest', json.dumps(self.manifest).encode())
                return
        if differing := differences(json.loads(begun), self.manifest):
            self._env.close()
            raise ValueError(f'{self.folder} was begun with other settings ({"; ".join(differing)}): write to another '
                             'folder, or remove this one')

    def __contains__(self, name: str) -> bool:
        with self._env.begin() as transaction:
            return transaction.get(_key(b'i', name)) is not None

    def __len__(self) -> int:
        return (self._env.stat()['entries'] - 1) // 2  # a video has two entries, and there is the manifest

    def write(self, name: str, tokens: Tensor, label: int | None = None) -> None:
        """Store a video.

        Args:
            name: unique; without tabs and line breaks.
            tokens: ``(T, h, w)`` integer, at least one frame, without PAD.
            label: its class.

        Raises:
            ValueError: if the name, the grid or an id is not as it must be.
        """
        grid, vocab_size = tuple(self.manifest['grid']), self.manifest['vocab_size']
        if not name or set(name) & set('\t\n\r'):
            raise ValueError(f'{name!r} cannot name a video in a token store: it is empty or has a tab or line break')
        if tokens.ndim != 3 or not len(tokens) or tuple(tokens.shape[1:]) != grid:
            raise ValueError(f'{name}: tokens are {tuple(tokens.shape)}, expected (T, {grid[0]}, {grid[1]}), T > 0')
        if tokens.min() < 0 or tokens.max() >= vocab_size:
            raise ValueError(f'{name}: ids must lie in [0, {vocab_size}), got {int(tokens.min())} to '
                             f'{int(tokens.max())}')
        (self.path / 'manifest.json').unlink(missing_ok=True)  # its counts are no longer true
        line = f'{name}\t{len(tokens)}\t{"" if label is None else int(label)}'
        with self._env.begin(write=True) as transaction:
            transaction.put(_key(b'i', name), os.fsencode(line))
            transaction.put(_key(b'v', name), tokens.cpu().numpy().astype(self._dtype).tobytes())

    def close(self) -> None:
        """Write the shard's index, then the manifest over all shards there are."""
        if self._env is None:
            return
        with self._env.begin() as transaction:
            lines = list(_entries(transaction, b'i'))
        self._env.close()
        self._env = None
        write_whole(self.folder / 'videos.txt', b''.join(line + b'\n' for line in lines))
        write_manifest(self.path, self.manifest)


class TokenStore:
    """Reads a token store. Opening reads the manifest; a clip costs the pages it lies on.

    May be opened in any number of processes at once and sent to others; each opens the files when it first reads.

    Args:
        path: folder of the store.

    Raises:
        ValueError: if there is no finished store.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        file = self.path / 'manifest.json'
        if not file.is_file():
            raise ValueError(f'{self.path} is no finished token store: it has no manifest.json. Make one, or finish '
                             'it, with tools/extract_tokens.py')
        self.manifest = json.loads(file.read_text())
        if self.manifest.get('format') != FORMAT:
            raise ValueError(f'{file} has the format {self.manifest.get("format")!r}, this version reads {FORMAT!r}')
        self.grid = tuple(self.manifest['grid'])
        self._dtype = np.dtype(_id_type(self.manifest['vocab_size']))
        self._index: VideoIndex | None = None

    def __len__(self) -> int:
        return self.manifest['num_videos']

    @property
    def videos(self) -> VideoIndex:
        """The index: name, number of frames and label of each video."""
        if self._index is None:
            self._index = VideoIndex([self.path / shard / 'videos.txt' for shard in self.manifest['shards']])
        return self._index

    @property
    def names(self) -> list[str]:
        """The names of all videos, in the order of the index."""
        return [video.name for video in self.videos]

    def num_frames(self, name: str) -> int:
        """Frames of a video.

        Raises:
            KeyError: if there is no such video.
        """
        return self._with_frames(name, len)

    def read(self, name: str, frame_indices: Sequence[int]) -> Tensor:
        """Read some frames of a video.

        Args:
            name: of the video.
            frame_indices: numbers of frames, in any order.

        Returns:
            ``(len(frame_indices), h, w)`` int64.

        Raises:
            KeyError: if there is no such video.
            IndexError: if it has no such frame.
        """
        indices = np.asarray(frame_indices, dtype=np.int64)
        if len(indices) and indices.min() < 0:
            raise IndexError(f'{name}: frame {indices.min()} does not exist')
        return torch.from_numpy(self._with_frames(name, lambda frames: frames[indices].astype(np.int64)))

    def _with_frames(self, name: str, use):
        """``use(frames)`` while the mapped memory of ``frames`` (T, h, w) is valid."""
        key = _key(b'v', name)
        for shard in self.manifest['shards']:
            with _environment(self.path / shard).begin(buffers=True) as transaction:
                stored = transaction.get(key)
                if stored is not None:
                    return use(np.frombuffer(stored, self._dtype).reshape(-1, *self.grid))
        raise KeyError(f'{self.path} has no video {name!r}')

    def check(self, expected: Mapping) -> None:
        """Compare the manifest with what a config expects.

        Raises:
            ValueError: that says what differs.
        """
        if differing := differences(self.manifest, expected):
            raise ValueError(f'{self.path} does not hold what the config expects ({"; ".join(differing)})')


class VideoIndex(Sequence):
    """The lines ``name <tab> number of frames <tab> label`` of some files, kept as bytes.

    A million Python strings would be copied into every worker; bytes are shared.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._text = b''.join(file.read_bytes() for file in files)
        self._ends = np.flatnonzero(np.frombuffer(self._text, np.uint8) == ord('\n'))

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> StoredVideo:
        if not -len(self) <= index < len(self):
            raise IndexError(f'there are {len(self)} videos, got the index {index}')
        index %= len(self)
        start = 0 if index == 0 else int(self._ends[index - 1]) + 1
        name, num_frames, label = os.fsdecode(self._text[start:int(self._ends[index])]).split('\t')
        return StoredVideo(name, int(num_frames), int(label) if label else None)


def write_manifest(path: Path, specified: Mapping) -> None:
    """Write ``manifest.json`` over the finished shards of a store; the last process to finish leaves all of them."""
    shards = sorted(folder.name for folder in Path(path).glob('shard-*') if (folder / 'videos.txt').is_file())
    videos = VideoIndex([path / shard / 'videos.txt' for shard in shards])
    counts = dict(num_videos=len(videos), num_frames=sum(video.num_frames for video in videos), shards=shards)
    write_whole(path / 'manifest.json', json.dumps(dict(specified) | counts | dict(version=__version__), indent=2))


def differences(found: Mapping, expected: Mapping) -> list[str]:
    """What is in ``expected`` and otherwise in ``found``, in words."""
    expected = json.loads(json.dumps(dict(expected)))  # tuples become lists, as in a file
    return [f'{key} is {found.get(key)!r}, expected {value!r}' for key, value in expected.items()
            if found.get(key) != value]


def _key(kind: bytes, name: str) -> bytes:
    encoded = os.fsencode(name)
    return kind + (encoded if len(encoded) <= 400 else hashlib.sha256(encoded).digest())  # LMDB: 511 bytes at most


def _entries(transaction: lmdb.Transaction, kind: bytes) -> Iterator[bytes]:
    cursor = transaction.cursor()
    cursor.set_range(kind)
    for key, value in cursor:
        if not key.startswith(kind):
            return
        yield value


def _id_type(vocab_size: int) -> str:
    return '<u2' if vocab_size <= 1 << 16 else '<u4'


_environments: dict[str, tuple[int, int, lmdb.Environment]] = {}
_lock = threading.Lock()
os.register_at_fork(after_in_child=lambda: globals().update(_lock=threading.Lock()))


def _environment(folder: Path) -> lmdb.Environment:
    """The open files of a shard: one per process, whoever asks; LMDB refuses a second, and one from before a fork."""
    path = os.path.abspath(folder)
    owner = os.getpid(), os.stat(os.path.join(path, 'data.mdb')).st_ino
    with _lock:
        found = _environments.get(path)
        if found is None or found[:2] != owner:
            if found is not None:
                found[2].close()
            # No reader table: the store is finished, so nobody writes. No read-ahead: clips lie anywhere.
            env = lmdb.open(path, readonly=True, lock=False, readahead=False)
            _environments[path] = found = (*owner, env)
        return found[2]


def _forget(folder: Path) -> None:
    with _lock:
        found = _environments.pop(os.path.abspath(folder), None)
        if found is not None:
            found[2].close()
