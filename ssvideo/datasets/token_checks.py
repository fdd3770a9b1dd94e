"""Verifying a token store: every video's ids against their checksum."""
from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

from .token_shard import records_of
from .token_store import TokenStore

VIDEOS_PER_TASK = 500


def problems_of_videos(path: Path, numbers: range) -> list[str]:
    """What is wrong with the ids of some videos of a store, one line for each that is damaged."""
    store, problems = TokenStore(path), []
    for number in numbers:
        expected = store.videos.record(number)
        try:
            found = store.checksum(number)
        except ValueError as error:
            problems.append(str(error))
            continue
        if found != expected.checksum:
            problems.append(f'{os.fsdecode(expected.name)}: its ids have the checksum {found:016x}, expected '
                            f'{expected.checksum:016x}')
    return problems


def problems_of_shard(path: Path, shard: str) -> list[str]:
    """What is wrong with the LMDB file of a shard, one line for each video of which the index says something else."""
    store, problems = TokenStore(path), []
    try:
        for record in records_of(path / shard):
            name = os.fsdecode(record.name)
            if name not in store or store.videos.record(store.videos.find(name)).content != record.content:
                problems.append(f'{name}: {shard}/data.mdb and the index differ')
    except ValueError as error:
        problems.append(str(error))
    return problems


def verify(path: str | Path, workers: int = 1) -> Iterator[tuple[int, list[str]]]:
    """Read all videos of a store, and compare its index with its shards.

    This is done in processes of their own, since damage inside LMDB's tree may end a process.

    Args:
        path: folder of the store.
        workers: processes.

    Returns:
        For each lot of videos, as it is finished, their number and what is wrong with them.

    Raises:
        ValueError: if the store cannot be opened, or reading it ends a process.
    """
    store = TokenStore(path)
    lots = [range(start, min(start + VIDEOS_PER_TASK, len(store))) for start in range(0, len(store.videos), VIDEOS_PER_TASK)]
    with ProcessPoolExecutor(workers, mp_context=get_context('spawn')) as pool:
        running = {pool.submit(problems_of_videos, store.path, lot): len(lot) for lot in lots}
        running |= {pool.submit(problems_of_shard, store.path, shard['name']): 0 for shard in store.manifest['shards']}
        try:
            for done in as_completed(running):
                yield running[done], done.result()
        except BrokenProcessPool:
            raise ValueError(f'reading {store.path} ended a process: a shard is damaged inside. Remove the shards one by one '
                             'and run tools/extract_tokens.py again, which extracts what is missing') from None
