"""The features of a labelled list, computed once and kept on disk."""
from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..models.frozen_encoder import FrozenEncoder
from ..utils.files import write_whole
from ..utils.readable import readable_size
from ..utils.safetensors_file import write_safetensors

VIDEOS_PER_BLOCK = 64
"""Videos of a file: what is lost when a run is killed, and what is in memory at a time."""
IN_MEMORY = 2**30
"""Bytes of tokens up to which a list is read into memory; above, each batch is read from the disk."""


@dataclass
class FrozenFeatures:
    """The features of a list.

    Args:
        pooled: ``(N, C)`` float32 by pool, ``'summary'`` and ``'map'`` (the mean of a map); means over the views.
        labels: ``(N,)`` int64.
        missing: ``(N,)`` bool, the videos that could not be read, whose features mean nothing.
        tokens: gives the tokens of some videos, ``(B, L, C)`` float16, the maps of all views one after the other;
            ``None`` where they were not kept.
    """
    pooled: dict[str, Tensor]
    labels: Tensor
    missing: Tensor
    tokens: Callable[[Tensor], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.labels)


class FeatureCache:
    """A folder with the features of a list, in blocks that are there whole or not at all.

    An extraction may be ended at any moment and goes on at the next unfinished block, in any number of processes. The
    folder's name comes from ``about``, so that features of anything else are never taken for these.

    Args:
        root: folder of all caches.
        name: of the list, for the eye.
        about: all that the features depend on, in JSON's types.
        num_videos: of the list.
        tokens: whether the map is kept, beside its mean.
        level: of the map, a number in ``Features.maps``; the last by default.
    """

    def __init__(self, root: Path, name: str, about: Mapping, num_videos: int, tokens: bool, level: int = -1) -> None:
        about = dict(about, tokens=tokens, level=level, videos_per_block=VIDEOS_PER_BLOCK)
        text = json.dumps(about, sort_keys=True, indent=1, default=str)
        self.folder = Path(root) / f'{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}'
        self.about, self.num_videos, self.tokens, self.level = text, num_videos, tokens, level
        self.blocks = [range(start, min(start + VIDEOS_PER_BLOCK, num_videos))
                       for start in range(0, num_videos, VIDEOS_PER_BLOCK)]

    def file(self, block: int) -> Path:
        """Of a block."""
        return self.folder / f'{block:06}.safetensors'

    def todo(self) -> list[int]:
        """The blocks that are not there yet."""
        return [block for block in range(len(self.blocks)) if not self.file(block).is_file()]

    def fill(self, encoder: FrozenEncoder, dataset: Dataset, blocks: Sequence[int], batch_size: int, workers: int, amp: bool,
             advance: Callable[[int], None]) -> None:
        """Encode some blocks.

        Args:
            encoder: on the device.
            dataset: of the list, item i being its video i.
            blocks: numbers.
            batch_size: videos encoded at once.
            workers: decoding processes.
            amp: encode in bfloat16.
            advance: called with the number of videos done since the last call.

        Raises:
            ValueError: if the features are not finite, do not fit half precision, or the disk is too small for them.
        """
        write_whole(self.folder / 'about.json', self.about)
        batches = [(block, list(part)) for block in blocks for part in _parts(self.blocks[block], batch_size)]
        loader = DataLoader(dataset, batch_sampler=[items for _, items in batches], num_workers=workers,
                            collate_fn=pseudo_collate)
        found: list[dict[str, Tensor]] = []
        for (block, items), batch in zip(batches, loader):
            found.append(encode_batch(encoder, batch, self.tokens, self.level, amp))
            if items[-1] == self.blocks[block][-1]:
                write_safetensors(self.file(block), {name: torch.cat([part[name] for part in found]) for name in found[0]},
                                  dict(format='ssvideo.features/1'))
                found = []
                self._check_space(block)
            advance(len(items))

    def _check_space(self, block: int) -> None:
        """Every block is about as large as the one that was just written."""
        size, free = self.file(block).stat().st_size * len(self.todo()), shutil.disk_usage(self.folder).free
        if size > free:
            raise ValueError(f'the features of {len(self.todo()) * VIDEOS_PER_BLOCK} more videos need about '
                             f'{readable_size(size)} in {self.folder}, where {readable_size(free)} are free: leave out the '
                             'attentive probe, which needs all tokens, or put the cache on another disk')

    def read(self, labels: np.ndarray) -> FrozenFeatures:
        """The features of the whole list, when all blocks are there.

        Args:
            labels: of the list.

        Raises:
            ValueError: if a file is damaged.
        """
        files = [_opened(self.file(block)) for block in range(len(self.blocks))]
        pooled = {pool: torch.cat([file.get_tensor(pool) for file in files]) for pool in ('summary', 'map')}
        missing = torch.cat([file.get_tensor('missing') for file in files])
        return FrozenFeatures(pooled, torch.from_numpy(np.array(labels, np.int64)), missing,
                              _reader(files) if self.tokens else None)


def encode_batch(encoder: FrozenEncoder, batch: Mapping, tokens: bool, level: int = -1, amp: bool = False) -> dict[str, Tensor]:
    """The features of a batch of videos, on the host.

    Args:
        encoder: on the device.
        batch: of a loader, B videos with V views each.
        tokens: whether the map is wanted, beside its mean.
        level: of the map.
        amp: encode in bfloat16.

    Returns:
        ``summary`` and ``map``, ``(B, C)`` float32 each, means over the views; ``missing`` ``(B,)`` bool; and perhaps ``tokens``,
        ``(B, V * t * h * w, C)`` float16.

    Raises:
        ValueError: if they are not finite or do not fit half precision, or the backbone has no such map.
    """
    num_maps = len(encoder.backbone.channels)
    if not -num_maps <= level < num_maps:
        raise ValueError(f'{type(encoder.backbone).__name__} has {num_maps} maps, numbered from 0, or from -1 backwards; '
                         f'got {level}')
    clips = encoder.clips(batch)
    device = (clips.frames if clips.tokens is None else clips.tokens).device
    with torch.autocast(device.type, torch.bfloat16, enabled=amp):
        features = encoder(clips)
    cells = features.maps[level].float().flatten(1, 3)  # (V * B, t * h * w, C), view-major
    by_view = dict(summary=features.summary.float(), map=cells.mean(1))
    found = {name: value.unflatten(0, (clips.num_views, -1)).mean(0).cpu() for name, value in by_view.items()}
    found['missing'] = torch.tensor(['missing' in sample for sample in batch['data_samples']])
    if tokens:
        found['tokens'] = cells.half().unflatten(0, (clips.num_views, -1)).transpose(0, 1).flatten(1, 2).cpu()
    for name, value in found.items():
        if not value.isfinite().all():
            raise ValueError(f'{name} of the features is not finite' + ' in half precision' * (name == 'tokens') + ': the '
                             'checkpoint is broken, or the model needs another precision (without --amp; without the '
                             'attentive probe)')
    return found


def _opened(file: Path) -> safe_open:
    try:
        return safe_open(file, framework='pt')
    except SafetensorError as error:
        raise ValueError(f'{file} is damaged ({error}): remove it, and what it held is encoded again') from error


def _parts(items: range, size: int) -> list[range]:
    return [items[start:start + size] for start in range(0, len(items), size)]


def _reader(files: list) -> Callable[[Tensor], Tensor]:
    """Reads tokens out of the blocks, or out of memory where they fit."""
    slices = [file.get_slice('tokens') for file in files]
    if sum(2 * int(np.prod(part.get_shape())) for part in slices) <= IN_MEMORY:
        tokens = torch.cat([file.get_tensor('tokens') for file in files])
        return lambda items: tokens[items]

    def read(items: Tensor) -> Tensor:
        places = [divmod(item, VIDEOS_PER_BLOCK) for item in items.tolist()]
        return torch.cat([slices[block][row:row + 1] for block, row in places])
    return read
