"""Draws: which entry comes when, and the random numbers that go with it, as pure functions of (seed, draw number)."""
from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from ..registry import DATA_SAMPLERS


def draw_seed(*keys: int | str) -> int:
    """Mix keys, such as a seed, a stream's name and a draw number, into one 63-bit seed, alike on every machine."""
    return int.from_bytes(hashlib.blake2b(repr(keys).encode(), digest_size=8).digest(), 'little') >> 1


@contextmanager
def seeded(*keys: int | str):
    """Seed Python's, numpy's and torch's (CPU) global generators from ``keys``, and put them back afterwards."""
    seed = draw_seed(*keys)
    states = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
    random.seed(seed)
    np.random.seed((seed & 0xFFFFFFFF, seed >> 32))
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.default_generator.set_state(states[2])


@DATA_SAMPLERS.register_module()
class DrawSampler(Sampler):
    """Yields ``(index, draw)``: the entry to load, and the number of the draw, from which its randomness comes.

    Draws are numbered through the whole training. ``len(dataset)`` draws in a row, from a multiple of that number on,
    are one permutation of the data set; rank r of R takes the draws r, r + R, r + 2R, ...

    Iterated as a loader of mmengine's epoch loop does, it stops after ``len(self)`` draws, and ``set_epoch`` says which
    come next. ``start_at`` turns it into an endless sequence from any position.

    Args:
        dataset: a data set whose items are asked for with ``(index, draw)``, such as ``VideoList``. Where its ``seed``
            attribute is None, it is given the sampler's.
        shuffle: permute each pass over the data, else draw in the order of the data set.
        seed: of the permutations; equal on all ranks. None: drawn once and shared between ranks. A runner
            passes its own.
        num_draws: draws in an epoch, over all ranks; None: the length of the data set.
    """

    def __init__(self, dataset, shuffle: bool = True, seed: int | None = None, num_draws: int | None = None):
        if not len(dataset):
            raise ValueError('DrawSampler: the data set is empty')
        if num_draws is not None and num_draws < 1:
            raise ValueError(f'DrawSampler: num_draws must be positive or None, got {num_draws}')
        self.rank, self.world_size = get_dist_info()
        self.num_entries = len(dataset)
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.num_samples = -(-(num_draws or self.num_entries) // self.world_size)
        self.position = 0
        self.endless = False
        self._pass: tuple[int, np.ndarray] | None = None
        if getattr(dataset, 'seed', 0) is None:
            dataset.seed = self.seed

    def __len__(self) -> int:
        """Draws of one rank in an epoch, rounded up."""
        return self.num_samples

    def __iter__(self) -> Iterator[tuple[int, int]]:
        position = self.position
        end = None if self.endless else position + self.num_samples
        while end is None or position < end:
            draw = position * self.world_size + self.rank
            yield self.entry_of(draw), draw
            position += 1

    def set_epoch(self, epoch: int) -> None:
        """Iterate over the draws of epoch ``epoch`` next (without effect on an endless sequence)."""
        if not self.endless:
            self.position = epoch * self.num_samples

    def start_at(self, position: int) -> None:
        """Iterate without end from the ``position``-th draw of this rank: the batches taken times the batch size."""
        self.position = position
        self.endless = True

    def entry_of(self, draw: int) -> int:
        """The index of the entry that draw number ``draw`` takes."""
        number, offset = divmod(draw, self.num_entries)
        if not self.shuffle:
            return offset
        if self._pass is None or self._pass[0] != number:
            generator = np.random.Generator(np.random.PCG64([self.seed, number]))
            self._pass = number, generator.permutation(self.num_entries)
        return int(self._pass[1][offset])
