"""How the ids of a video lie on disk."""
from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

ZLIB = dict(codec='zlib', block_frames=8)
"""The compression that ``tools/extract_tokens.py --compress`` chooses. A clip of 5 frames lies in one or two blocks."""


@dataclass(frozen=True)
class TokenCodec:
    """Ids of a video to bytes and back, such that a few frames can be read without the others.

    Plain, ids are little-endian integers of the smallest type that holds the vocabulary, frame after frame. Compressed,
    a table of offsets comes first, then blocks of ``block_frames`` frames, each compressed by zlib by itself, with
    the ids of one place side by side, because what stands still repeats there. No id is changed.

    Args:
        grid: (h, w).
        vocab_size: number of ids.
        block_frames: frames of a compressed block; None: plain.
    """
    grid: tuple[int, int]
    vocab_size: int
    block_frames: int | None = None

    @classmethod
    def of(cls, manifest: Mapping) -> TokenCodec:
        """The codec that a manifest names.

        Raises:
            ValueError: if it names one that this version does not know.
        """
        compression = manifest.get('compression')
        if compression and compression.get('codec') != 'zlib':
            raise ValueError(f'the compression is {compression}, this version knows {ZLIB} and None')
        return cls(tuple(manifest['grid']), manifest['vocab_size'], compression['block_frames'] if compression else None)

    @property
    def dtype(self) -> np.dtype:
        """Type of an id on disk."""
        return np.dtype('<u2' if self.vocab_size <= 1 << 16 else '<u4')

    @property
    def bytes_per_frame(self) -> int:
        """Of plain ids."""
        return self.grid[0] * self.grid[1] * self.dtype.itemsize

    def encode(self, tokens: np.ndarray) -> bytes:
        """``(T, h, w)`` of ``dtype`` -> what is stored."""
        if self.block_frames is None:
            return tokens.tobytes()
        blocks = [zlib.compress(np.moveaxis(tokens[i:i + self.block_frames], 0, -1).tobytes())
                  for i in range(0, len(tokens), self.block_frames)]
        table = np.cumsum([4 * (len(blocks) + 1), *map(len, blocks)]).astype('<u4')
        return b''.join([table.tobytes(), *blocks])

    def read(self, stored: memoryview | bytes, num_frames: int, indices: np.ndarray) -> np.ndarray:
        """Some frames of what is stored.

        Args:
            stored: of one video; only the part that holds the frames is touched.
            num_frames: T of the video.
            indices: numbers of frames in [0, T), in any order.

        Returns:
            ``(len(indices), h, w)`` of ``dtype``, a copy.

        Raises:
            ValueError: if the bytes are damaged in a way that shows.
        """
        if self.block_frames is None:
            return np.frombuffer(stored, self.dtype).reshape(num_frames, *self.grid)[indices]
        found = np.empty((len(indices), *self.grid), self.dtype)
        blocks, within = np.divmod(indices, self.block_frames)
        table = np.frombuffer(stored, '<u4', -(-num_frames // self.block_frames) + 1)
        for block in np.unique(blocks).tolist():
            here = blocks == block
            found[here] = self._block(stored[table[block]:table[block + 1]])[within[here]]
        return found

    def _block(self, compressed) -> np.ndarray:
        try:
            ids = np.frombuffer(zlib.decompress(compressed), self.dtype).reshape(*self.grid, -1)
        except zlib.error as error:
            raise ValueError(f'a block of tokens is damaged ({error})') from error
        return np.moveaxis(ids, -1, 0)

    def checksum(self, tokens: np.ndarray) -> int:
        """64 bits that tell ``(T, h, w)`` ids from others, whatever the compression."""
        return int.from_bytes(hashlib.blake2b(np.ascontiguousarray(tokens), digest_size=8).digest(), 'little')
