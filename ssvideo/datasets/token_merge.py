"""Several token stores of equal settings into one."""
from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from .token_manifest import all_differences, specified
from .token_store import TokenStore
from .token_writer import TokenStoreWriter

VIDEOS_AT_ONCE = 100
"""In one transaction, since a disk takes longer to confirm one than to write a video."""


def merge_stores(sources: Sequence[str | Path], out: str | Path, advance: Callable[[int], None] = lambda number: None) -> int:
    """Copy the videos of some stores into a new one. A merge that was cut off goes on when it is repeated.

    Args:
        sources: folders of finished stores.
        out: folder of the new one.
        advance: called with the number of videos done since the last call.

    Returns:
        Videos in the new store; one that several stores have is there once.

    Raises:
        ValueError: before anything is written, if settings differ, or stores have different tokens or labels of a video.
    """
    stores = [TokenStore(source) for source in sources]
    settings = specified(stores[0].manifest)
    for store in stores[1:]:
        if differing := all_differences(specified(store.manifest), settings):
            raise ValueError(f'{store.path} cannot be merged with {stores[0].path} ({"; ".join(differing)})')
    for first, second in combinations(stores, 2):
        _check_agreement(first, second)
    writer = TokenStoreWriter(out, settings)
    for store in stores:
        for start in range(0, len(store), VIDEOS_AT_ONCE):
            numbers = range(start, min(start + VIDEOS_AT_ONCE, len(store)))
            writer.put((store.videos.record(number), store.stored(number)) for number in numbers
                       if store.videos[number].name not in writer)
            advance(len(numbers))
    num_videos = len(writer)
    writer.close()
    return num_videos


def _check_agreement(first: TokenStore, second: TokenStore) -> None:
    for hashed in np.intersect1d(first.videos.hashes, second.videos.hashes):
        for record in second.videos.records_hashed(hashed):
            name = os.fsdecode(record.name)
            if name in first and first.videos.record(first.videos.find(name)).content != record.content:
                raise ValueError(f'{first.path} and {second.path} have different tokens or labels of {name!r}: remove one')
