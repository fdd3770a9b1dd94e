"""Writing a token store, in one process or many."""
from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from ..utils.files import write_whole
from ..version import __version__
from .token_codec import TokenCodec
from .token_index import VideoIndex, write_index
from .token_manifest import all_differences, specified
from .token_shard import ShardWriter, VideoRecord, records_of, settings_of, shard_folder, shard_folders


class TokenStoreWriter:
    """Writes one shard of a store; every video is on disk, whole, when :meth:`write` returns.

    A store that was cut off is taken up again by opening it with the same manifest: ``name in writer`` tells what is
    in this shard, ``stored_names`` what is in any. It can be read after :meth:`close`.

    Args:
        path: folder of the store.
        manifest: the settings, see ``SPECIFIED``; further entries (crop, flip) are kept; ``compression`` is ``ZLIB`` or None.
        shard: number of this shard; each process writes its own.

    Raises:
        ValueError: if the manifest lacks an entry, or differs from the one that the shard was begun with, or another
            process is writing to the shard, or a file of it is damaged.
    """

    def __init__(self, path: str | Path, manifest: Mapping, shard: int = 0) -> None:
        self.manifest = specified(manifest)
        self.codec = TokenCodec.of(self.manifest)
        self.path = Path(path)
        self._shard: ShardWriter | None = ShardWriter(shard_folder(self.path, shard), self.manifest)
        self._finished = True  # until the first video is added

    def __contains__(self, name: str) -> bool:
        return os.fsencode(name) in self._shard

    def __len__(self) -> int:
        return len(self._shard)

    def write(self, name: str, tokens: Tensor, label: int | None = None) -> None:
        """Store a video.

        Args:
            name: unique.
            tokens: ``(T, h, w)`` integer, at least one frame, without PAD.
            label: its class, not negative.

        Raises:
            ValueError: if the name, the grid or an id is not as it must be.
        """
        grid, vocab_size = self.codec.grid, self.codec.vocab_size
        if not name:
            raise ValueError('an empty name cannot name a video in a token store')
        if tokens.ndim != 3 or not len(tokens) or tuple(tokens.shape[1:]) != grid:
            raise ValueError(f'{name}: tokens are {tuple(tokens.shape)}, expected (T, {grid[0]}, {grid[1]}), T > 0')
        low, high = tokens.min().item(), tokens.max().item()
        if low < 0 or high >= vocab_size:
            raise ValueError(f'{name}: ids must lie in [0, {vocab_size}), got {low} to {high}')
        ids = tokens.cpu().numpy().astype(self.codec.dtype, order='C')
        record = VideoRecord(os.fsencode(name), len(ids), -1 if label is None else int(label), self.codec.checksum(ids))
        self.put([(record, self.codec.encode(ids))])

    def put(self, videos: Iterable[tuple[VideoRecord, bytes]]) -> None:
        """Store videos as another store of the same settings has them, all or none of them."""
        if self._finished:
            (self.path / 'manifest.json').unlink(missing_ok=True)  # its counts are no longer true
            self._finished = False
        self._shard.put(videos)

    def close(self, finish: bool = True) -> None:
        """Close the shard.

        Args:
            finish: finish the store, over all shards there are. Of several processes that write at a time one calls
                ``finish_store`` after all have closed.
        """
        if self._shard is None:
            return
        self._shard.close()
        self._shard = None
        if finish:
            finish_store(self.path)


def stored_names(path: str | Path) -> set[bytes]:
    """The encoded names of all videos in any shard of a store, finished or not.

    Raises:
        ValueError: if a shard is damaged.
    """
    return {record.name for folder in shard_folders(Path(path)) for record in records_of(folder)}


def finish_store(path: str | Path) -> dict:
    """Write the index and, last, the manifest of a store, from its shards.

    Returns:
        The manifest.

    Raises:
        ValueError: if shards have different settings, or different tokens of one video, or are damaged.
    """
    path = Path(path)
    folders = [folder for folder in shard_folders(path) if settings_of(folder)]
    settings = _settings(folders)
    (path / 'manifest.json').unlink(missing_ok=True)
    write_index(path / 'index', ((record, shard) for shard, folder in enumerate(folders) for record in records_of(folder)))
    index = VideoIndex(path / 'index')
    shards = [dict(name=folder.name, sizes={name: (folder / name).stat().st_size for name in ('data.mdb', 'tokens.bin')})
              for folder in folders]
    counts = dict(num_videos=len(index), num_frames=int(index.rows['num_frames'].sum(dtype='i8')), shards=shards,
                  videos=index.checksum(), version=__version__)
    write_whole(path / 'manifest.json', json.dumps(settings | counts, indent=2))
    return settings | counts


def _settings(folders: list[Path]) -> dict:
    if not folders:
        raise ValueError('a token store without a shard cannot be finished: write to it first')
    first = settings_of(folders[0])
    for folder in folders[1:]:
        if differing := all_differences(settings_of(folder), first):
            raise ValueError(f'{folder} has other settings than {folders[0]} ({"; ".join(differing)}): remove one of them')
    return first
