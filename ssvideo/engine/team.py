"""Processes that share out work and talk little."""
from __future__ import annotations

import os
from datetime import timedelta

import torch.distributed as dist

PATIENCE = timedelta(days=30)
"""For the slowest process; one that dies is noticed by what launched it."""


class Team:
    """The processes that torchrun started, as its environment tells (``RANK``, ``WORLD_SIZE``); or this one alone.

    They talk over gloo, whatever the device, and count together.

    Attributes:
        rank: number of this process.
        size: how many there are.
        local_rank: number of this process on its machine.
    """

    def __init__(self) -> None:
        self.rank, self.size = int(os.environ.get('RANK', 0)), int(os.environ.get('WORLD_SIZE', 1))
        self.local_rank = int(os.environ.get('LOCAL_RANK', 0))
        self._count = 0
        if self.size > 1:
            store, _, _ = next(dist.rendezvous('env://', timeout=PATIENCE))
            dist.init_process_group('gloo', store=store, rank=self.rank, world_size=self.size, timeout=PATIENCE)
            self._counter = dist.PrefixStore('team', store)

    def from_first(self, value):
        """What the first process passed; the others' values do not matter."""
        values = [value]
        if self.size > 1:
            dist.broadcast_object_list(values, 0)
        return values[0]

    def count(self, number: int = 1) -> int:
        """Add to what all have counted, and tell the sum. One message to one process."""
        if self.size > 1:
            return self._counter.add('count', number)
        self._count += number
        return self._count

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.size > 1:
            dist.barrier()

    def leave(self) -> None:
        """Close the connections."""
        if self.size > 1:
            dist.destroy_process_group()
