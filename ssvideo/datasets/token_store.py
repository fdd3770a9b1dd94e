"""Tokens of many videos on disk, read clip by clip."""
from __future__ import annotations

import mmap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .token_codec import TokenCodec
from .token_index import IndexRow, StoredVideo, VideoIndex
from .token_manifest import differences, read_manifest
from .token_shard import check_size, mapped
from .token_writer import TokenStoreWriter

__all__ = ['StoredVideo', 'TokenStore', 'TokenStoreWriter']


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
        self.manifest = read_manifest(self.path)
        self.codec = TokenCodec.of(self.manifest)
        self.grid = self.codec.grid
        self._shards = [self.path / shard['name'] for shard in self.manifest['shards']]
        for folder, shard in zip(self._shards, self.manifest['shards']):
            for name, size in shard['sizes'].items():
                check_size(folder / name, size)
        self._index: VideoIndex | None = None
        self._ids: dict[int, mmap.mmap] = {}  # of the shards read so far

    def __getstate__(self) -> dict:
        return self.__dict__ | dict(_index=None, _ids={})  # mapped anew by the process that gets the store

    def __len__(self) -> int:
        return self.manifest['num_videos']

    def __contains__(self, name: str) -> bool:
        try:
            return self.videos.find(name) >= 0
        except KeyError:
            return False

    @property
    def videos(self) -> VideoIndex:
        """The index: name, number of frames and label of each video."""
        if self._index is None:
            self._index = VideoIndex(self.path / 'index')
            if len(self._index) != len(self):
                raise ValueError(f'the index of {self.path} has {len(self._index)} videos, the manifest {len(self)}: run '
                                 'tools/extract_tokens.py again, which writes both anew')
        return self._index

    @property
    def names(self) -> list[str]:
        """The names of all videos, in the order of the index."""
        return [video.name for video in self.videos]

    def num_frames(self, video: str | int) -> int:
        """Frames of a video, given by name or number.

        Raises:
            KeyError: if there is no such video.
        """
        return self.videos.row(self._number(video)).num_frames

    def read(self, video: str | int, frame_indices: Sequence[int]) -> Tensor:
        """Read some frames of a video.

        Args:
            video: its name, or its number in the index.
            frame_indices: numbers of frames, in any order.

        Returns:
            ``(len(frame_indices), h, w)`` int64.

        Raises:
            KeyError: if there is no such video.
            IndexError: if it has no such frame.
            ValueError: if a file of the store is damaged.
        """
        number = self._number(video)
        indices = np.asarray(frame_indices, dtype=np.int64)
        row = self.videos.row(number)
        if len(indices) and not 0 <= indices.min() <= indices.max() < row.num_frames:
            raise IndexError(f'{self.videos[number].name} has {row.num_frames} frames, asked for {indices.min()} to '
                             f'{indices.max()}')
        return torch.from_numpy(self._frames(number, row, indices).astype(np.int64))

    def checksum(self, number: int) -> int:
        """Of the ids of a video as they are on disk, to be compared with the index's.

        Raises:
            ValueError: if its bytes are damaged in a way that shows.
        """
        row = self.videos.row(number)
        return self.codec.checksum(self._frames(number, row, np.arange(row.num_frames)))

    def check(self, expected: Mapping) -> None:
        """Compare the manifest with what a config expects.

        Raises:
            ValueError: that says what differs.
        """
        if differing := differences(self.manifest, expected):
            raise ValueError(f'{self.path} does not hold what the config expects ({"; ".join(differing)})')

    def stored(self, number: int) -> bytes:
        """The bytes of a video, as ``TokenStoreWriter.put`` takes them."""
        return bytes(self._stored(self.videos.row(number)))

    def _number(self, video: str | int) -> int:
        return self.videos.find(video) if isinstance(video, str) else video

    def _frames(self, number: int, row: IndexRow, indices: np.ndarray) -> np.ndarray:
        try:
            return self.codec.read(self._stored(row), row.num_frames, indices)
        except ValueError as error:
            raise ValueError(f'{self.videos[number].name} cannot be read from {self._shards[row.shard]} ({error}). '
                             'tools/token_store.py verify finds all such videos') from error

    def _stored(self, row: IndexRow) -> memoryview:
        if row.shard not in self._ids:
            self._ids[row.shard] = mapped(self._shards[row.shard])
        return memoryview(self._ids[row.shard])[row.offset:row.offset + row.num_bytes]
