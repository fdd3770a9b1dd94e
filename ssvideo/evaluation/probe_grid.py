"""Training many probes at once: one for each learning rate and weight decay, as one batched model."""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ITEMS_AT_ONCE = 64
"""Items that are scored at a time, times the number of probes."""


@dataclass(frozen=True)
class Point:
    """A point of the grid.

    Args:
        lr: initial learning rate, which falls to 0 along half a cosine.
        weight_decay: AdamW's, of weights; biases have none.
    """
    lr: float
    weight_decay: float


class ProbeGrid:
    """The probes of all points, which begin alike, see the same batches, and do not act on each other.

    Args:
        make: of :mod:`~ssvideo.evaluation.probes`, for a number of probes.
        points: of the grid.
        seed: of the initial weights and of the order of the batches.
        device: of the training.
    """

    def __init__(self, make: Callable[[int], nn.Module], points: Sequence[Point], seed: int, device: torch.device) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.probes = make(len(points)).to(device)
        self.points, self.seed, self.device = list(points), seed, device

    def train(self, read: Callable[[Tensor], Tensor], labels: Tensor, epochs: int, min_steps: int, batch_size: int) -> None:
        """Train with AdamW.

        Args:
            read: gives the inputs of some items, on the device.
            labels: ``(N,)`` int64 of all items, on the host.
            epochs: passes over the items.
            min_steps: more passes, where these would be fewer steps.
            batch_size: items of a step, at most N.
        """
        batch_size = min(batch_size, len(labels))
        steps = max(epochs * math.ceil(len(labels) / batch_size), min_steps)
        weights = list(self.probes.parameters())
        slices, optimizer = self._optimizer(weights)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for items in _batches(len(labels), batch_size, steps, self.seed):
            wanted = labels[items].to(self.device).repeat(len(self.points))
            loss = F.cross_entropy(self.probes(read(items)).flatten(0, 1), wanted, reduction='sum') / len(items)
            gradients = torch.autograd.grad(loss, weights)  # of each probe by its own loss alone
            for parts, gradient in zip(slices, gradients):
                for part, own in zip(parts, gradient.contiguous()):  # the fused AdamW reads them as they lie in memory
                    part.grad = own
            optimizer.step()
            schedule.step()

    @torch.no_grad()
    def scores(self, read: Callable[[Tensor], Tensor], num_items: int) -> Tensor:
        """Scores of items 0 to ``num_items - 1``: ``(points, items, classes)``, on the host."""
        parts = torch.arange(num_items).split(ITEMS_AT_ONCE)
        return torch.cat([self.probes(read(items)).cpu() for items in parts], dim=1)

    def _optimizer(self, weights: Sequence[Tensor]) -> tuple[list[list[Tensor]], torch.optim.Optimizer]:
        """For each weight its slices by probe, in the same memory; and what steps each with its own rate and decay."""
        slices = [list(weight.detach().unbind()) for weight in weights]
        groups = []
        for number, point in enumerate(self.points):
            own = [parts[number] for parts in slices]
            groups += [dict(params=[part for part in own if part.ndim > 1], lr=point.lr, weight_decay=point.weight_decay),
                       dict(params=[part for part in own if part.ndim == 1], lr=point.lr, weight_decay=0.0)]
        return slices, torch.optim.AdamW(groups, fused=True)


def _batches(num_items: int, batch_size: int, steps: int, seed: int):
    """Numbers of the items of each step: one permutation after the other; the last of each may be smaller."""
    generator, done = torch.Generator().manual_seed(seed), 0
    while True:
        for items in torch.randperm(num_items, generator=generator).split(batch_size):
            if done == steps:
                return
            yield items
            done += 1
