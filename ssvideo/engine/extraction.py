"""Tokenizing whole videos into stores, by any number of processes, in any number of attempts."""
from __future__ import annotations

import json
import os
import shutil
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..datasets.broken import BrokenFileError, BrokenLog
from ..datasets.token_codec import ZLIB, TokenCodec
from ..datasets.token_store import TokenStore
from ..datasets.token_writer import TokenStoreWriter, finish_store, stored_names
from ..datasets.whole_videos import VideoPart, WholeVideos
from ..models.tokenizers import Tokenizer
from ..utils.checksum import checksum_of
from ..utils.files import write_whole
from ..utils.readable import readable_size
from .team import Team

NUM_PROBED = 32
"""Videos that are opened, evenly over the list, to tell how long videos are before any is tokenized."""


class Extraction:
    """Fills one store for each view with the tokens of a list of videos.

    Whatever any process has ever finished is found in the shards and not done again, so that an extraction may be ended
    at any moment, by SIGKILL too, and started again with another number of processes. Ids depend on the video alone.

    Args:
        tokenizer: with the weights on ``device``.
        videos: of the list; their names are the paths in it.
        out: folder of the store, or of the stores of the views.
        team: the processes.
        device: of the tokenizer.
        compress: compress the ids, without loss.

    Attributes:
        names: of all videos of the list.
        todo: numbers of those that are not in all stores yet.

    Raises:
        ValueError: if tokenizer, videos and what is in ``out`` do not go together, or no video can be read.
    """

    def __init__(self, tokenizer: Tokenizer, videos: WholeVideos, out: Path, team: Team,
                 device: torch.device, compress: bool = False) -> None:
        self.tokenizer, self.videos, self.out, self.team, self.device = tokenizer, videos, out, team, device
        if tokenizer.vocab_size is None:
            raise ValueError(f'{type(tokenizer).__name__} makes vectors; a token store holds ids')
        self.entries = videos.videos.entries
        self.names = [self.entries.path(i) for i in range(len(self.entries))]
        if len(set(self.names)) < len(self.names):
            raise ValueError('some videos of the data set have the same path: each can be stored once')
        self.stores = {view: out / view for view in videos.described}
        videos.sizes, self.mean_frames = team.from_first(probe(videos) if team.rank == 0 else None)
        self.manifests = {view: self._manifest(view, compress) for view in self.stores}
        finished = set.intersection(*(stored_names(store) for store in self.stores.values()))
        self.todo = np.flatnonzero([os.fsencode(name) not in finished for name in self.names])
        if team.rank == 0:
            merge_failures(out, lambda name: os.fsencode(name) in finished)
        team.wait()  # nobody writes before all have looked

    def _manifest(self, view: str, compress: bool) -> dict:
        size, stride, sampling = self.videos.sizes[view], self.tokenizer.stride, self.videos.sampling
        if any(side % step for side, step in zip(size, stride[1:])):
            raise ValueError(f'frames of {size[0]} x {size[1]} do not divide by the stride {stride[1:]} of '
                             f'{type(self.tokenizer).__name__}: change the crop')
        return dict(tokenizer=checksum_of(self.tokenizer), fps=sampling.fps and sampling.fps / stride[0],
                    frame_interval=sampling.frame_interval and sampling.frame_interval * stride[0], size=size,
                    grid=(size[0] // stride[1], size[1] // stride[2]), vocab_size=self.tokenizer.vocab_size,
                    **self.videos.described[view], compression=ZLIB if compress else None)

    def expected_size(self) -> str:
        """The size on disk to be expected, and the free space, in words."""
        manifest = next(iter(self.manifests.values()))
        codec, num_views = TokenCodec.of(manifest), len(self.stores)
        num_frames = self.mean_frames / self.tokenizer.stride[0]
        size = len(self.names) * num_frames * codec.bytes_per_frame * num_views
        self.out.mkdir(parents=True, exist_ok=True)
        return (f'expected: {len(self.names):,} videos x {num_frames:.1f} frames (mean of up to {NUM_PROBED}) x '
                f'{codec.grid[0]} x {codec.grid[1]} ids x {codec.dtype.itemsize} bytes'
                + f' x {num_views} views' * (num_views > 1) + f' = {readable_size(size)}'
                + ' before compression' * bool(manifest['compression'])
                + f'; {readable_size(shutil.disk_usage(self.out).free)} are free')

    def run(self, workers: int, advance: Callable[[int], None]) -> str:
        """Tokenize what is not stored yet, and finish the stores.

        Args:
            workers: decoding processes of this process.
            advance: called with the number of videos that all processes have done in this run.

        Returns:
            What is in the stores, in one line; '' for all processes but the first.
        """
        self.videos.todo = self.todo[self.team.rank::self.team.size].tolist()
        failed = BrokenLog(self.out / f'failed-{self.team.rank:05d}.jsonl')
        with ExitStack() as stack:
            writers = {view: TokenStoreWriter(store, self.manifests[view], self.team.rank)
                       for view, store in self.stores.items()}
            for writer in writers.values():
                stack.callback(writer.close, finish=False)
            for index, tokens, reason in self._tokenized(workers):
                if reason:
                    failed.add(self.names[index], reason)
                for view, ids in tokens.items():
                    writers[view].write(self.names[index], ids, self.entries.label(index))
                advance(self.team.count())
        while self.team.rank == 0 and (done := self.team.count(0)) < len(self.todo):
            advance(done)
            time.sleep(0.5)
        self.team.wait()
        return self._finish() if self.team.rank == 0 else ''

    def _tokenized(self, workers: int) -> Iterator[tuple[int, dict[str, Tensor], str]]:
        """Index of a video, and its ``(t, h, w)`` ids by view, or the reason why there are none."""
        parts = DataLoader(self.videos, batch_size=None, num_workers=workers, prefetch_factor=2 if workers else None,
                           pin_memory=self.device.type == 'cuda')
        begun = defaultdict(lambda: defaultdict(list))  # ids of the parts so far, by video and view
        for part, ids in encoded(parts, self.tokenizer, self.device):
            for view, tokens in ids.items():
                begun[part.index][view].append(tokens)
            if part.last:
                views = begun.pop(part.index, {})
                yield part.index, {} if part.reason else {v: torch.cat(tokens) for v, tokens in views.items()}, part.reason

    def _finish(self) -> str:
        for store in self.stores.values():
            finish_store(store)
        stores = [TokenStore(store) for store in self.stores.values()]
        merge_failures(self.out, lambda name: all(name in store for store in stores))
        num_failed = sum(self.names[i] not in stores[0] for i in self.todo)
        views = f' in {len(stores)} views' * (len(stores) > 1)
        failures = f'; {num_failed} failed, see {self.out / "failed.jsonl"}' * bool(num_failed)
        return f'{len(stores[0])} videos are in {self.out}{views} ({len(self.todo) - num_failed} of them new){failures}'


def probe(videos: WholeVideos) -> tuple[dict[str, tuple[int, int]], float]:
    """Look at some videos, evenly over the list: (height, width) of the first readable one's frames by view, mean length.

    Raises:
        ValueError: if none of them can be read.
    """
    indices = np.unique(np.linspace(0, len(videos.videos) - 1, NUM_PROBED).astype(int)).tolist()
    sizes, lengths, reasons = {}, [], []
    for index in indices:
        try:
            length = videos.num_frames(index)
            sizes = sizes or {view: tuple(frames.shape[-2:]) for view, frames in next(videos.parts(index)).frames.items()}
            lengths.append(length)
        except BrokenFileError as error:
            reasons.append(str(error))
    if not sizes:
        raise ValueError(f'none of {len(indices)} videos tried, evenly over the list, can be read; the first: {reasons[0]}')
    return sizes, float(np.mean(lengths))


@torch.inference_mode()
def encoded(parts: Iterable[VideoPart], tokenizer: Tokenizer, device: torch.device) \
        -> Iterator[tuple[VideoPart, dict[str, Tensor]]]:
    """Tokenize parts of videos, each by itself, so that ids do not depend on neighbours in a batch.

    The results of a part are given out when the next one has been handed to the device: it never waits for the host to
    load or to store.

    Returns:
        Each part with its ``(t, h, w)`` ids by view, on the host.
    """
    waiting = deque()
    for part in parts:
        waiting.append((part, *_begin(part, tokenizer, device)))
        if len(waiting) > 1:
            yield _end(*waiting.popleft())
    while waiting:
        yield _end(*waiting.popleft())


def _begin(part: VideoPart, tokenizer: Tokenizer, device: torch.device):
    """Ids by view, on their way to the host, and the event of their arrival."""
    ids = {}
    for view, frames in part.frames.items():
        tokens = tokenizer(frames.to(device, non_blocking=True).float() / 255)[0].int()
        ids[view] = tokens if device.type != 'cuda' else \
            torch.empty(tokens.shape, dtype=tokens.dtype, pin_memory=True).copy_(tokens, non_blocking=True)
    return ids, torch.cuda.current_stream(device).record_event() if device.type == 'cuda' else None


def _end(part: VideoPart, ids: dict[str, Tensor], arrived) -> tuple[VideoPart, dict[str, Tensor]]:
    if arrived is not None:
        arrived.synchronize()
    return part, ids


def merge_failures(out: Path, is_stored: Callable[[str], bool]) -> None:
    """Put what each process has listed as failed into one ``failed.jsonl``, with what was there before.

    The last reason counts. Videos that have been stored since are left out; nothing else ever is.

    Args:
        out: folder of the lists.
        is_stored: by name.
    """
    parts = sorted(out.glob('failed-*.jsonl'))
    failed = {}
    for file in [out / 'failed.jsonl', *parts]:
        for line in file.read_text().splitlines() if file.exists() else ():
            try:
                entry = json.loads(line)
                failed[entry['path']] = entry['reason']
            except (ValueError, KeyError, TypeError):
                continue  # half a line of a process that was killed while it wrote: the video is tried again
    lines = [json.dumps(dict(path=path, reason=reason)) + '\n' for path, reason in failed.items() if not is_stored(path)]
    if lines:
        write_whole(out / 'failed.jsonl', ''.join(lines))
    else:
        (out / 'failed.jsonl').unlink(missing_ok=True)
    for file in parts:
        file.unlink()
