"""Loaders of several streams, read together."""
from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch.utils.data import DataLoader

from ..datasets.draw_sampler import DrawSampler


class ZippedLoader:
    """Loaders of named streams, iterated together without end.

    The first stream is the measure: the length, and what mmengine's hooks ask a loader for, are its. The others go on
    from pass to pass as long as they are asked.

    Args:
        loaders: by the name of the stream, in order; each samples with a ``DrawSampler``.
        accumulative_counts: batches of an optimiser step. An epoch is a whole number of steps: a checkpoint at its
            end holds no half of one, whose gradients would be lost. What is left over begins the next epoch.

    Raises:
        ValueError: if there is no loader, one samples otherwise, or an epoch is not even one optimiser step.
    """

    def __init__(self, loaders: Mapping[str, DataLoader], accumulative_counts: int = 1):
        if not loaders:
            raise ValueError('no stream: train_dataloader=dict(video=dict(dataset=..., sampler=..., batch_size=...))')
        for name, loader in loaders.items():
            if not isinstance(loader.sampler, DrawSampler):
                raise ValueError(f"stream {name!r} is sampled by {type(loader.sampler).__name__}; joint loading and "
                                 "exact resume need sampler=dict(type='ssvideo.DrawSampler', shuffle=True)")
            if not len(loader):
                raise ValueError(f'stream {name!r} has {loader.sampler.num_samples} draws per process and epoch, fewer '
                                 f'than its batch size {loader.batch_size}, and drop_last=True')
        self.loaders = dict(loaders)
        first = next(iter(self.loaders.values()))
        self._length = len(first) // accumulative_counts * accumulative_counts
        if not self._length:
            raise ValueError(f'an epoch has {len(first)} batches, fewer than the accumulative_counts='
                             f'{accumulative_counts} of an optimiser step')
        self.dataset, self.sampler = first.dataset, first.sampler
        self.batch_sampler, self.batch_size = first.batch_sampler, first.batch_size
        self.num_workers = first.num_workers

    def __len__(self) -> int:
        """Batches in an epoch of the first stream, those of whole optimiser steps."""
        return self._length

    def batches(self, start: int) -> Iterator[dict]:
        """Yield ``{stream: batch}`` without end, from batch number ``start`` on; nothing before it is loaded.

        Closing the iterator ends the loaders' workers.
        """
        for loader in self.loaders.values():
            loader.sampler.start_at(start * loader.batch_size)
        iterators = {name: iter(loader) for name, loader in self.loaders.items()}
        try:
            while True:
                yield {name: next(iterator) for name, iterator in iterators.items()}
        finally:
            # the workers go now: left to the garbage collector, each would be waited for 5 s and then killed
            iterators.clear()
            for loader in self.loaders.values():
                loader._iterator = None  # where a loader keeps persistent workers
