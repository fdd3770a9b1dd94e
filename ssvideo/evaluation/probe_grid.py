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
        optimizer = _AdamW(weights, self.points)
        for step, items in enumerate(_batches(len(labels), batch_size, steps, self.seed)):
            wanted = labels[items].to(self.device).repeat(len(self.points))
            loss = F.cross_entropy(self.probes(read(items)).flatten(0, 1), wanted, reduction='sum') / len(items)
            gradients = torch.autograd.grad(loss, weights)  # of each probe by its own loss alone
            optimizer.step(gradients, share=(1 + math.cos(math.pi * step / steps)) / 2)

    @torch.no_grad()
    def scores(self, read: Callable[[Tensor], Tensor], num_items: int) -> Tensor:
        """Scores of items 0 to ``num_items - 1``: ``(points, items, classes)``, on the host."""
        parts = torch.arange(num_items).split(ITEMS_AT_ONCE)
        return torch.cat([self.probes(read(items)).cpu() for items in parts], dim=1)


class _AdamW:
    """torch's AdamW, with a learning rate and a weight decay for each slice of the leading axis.

    With a group of parameters for each probe, torch's own spends ten times as long on small probes.
    """
    betas, eps = (0.9, 0.999), 1e-8

    def __init__(self, weights: Sequence[Tensor], points: Sequence[Point]) -> None:
        self.weights, self.num_steps = weights, 0
        self.moments = [(torch.zeros_like(weight), torch.zeros_like(weight)) for weight in weights]
        self.lr = weights[0].new_tensor([point.lr for point in points])
        self.decay = weights[0].new_tensor([point.weight_decay for point in points])

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], share: float) -> None:
        """Update the weights, at a share of their initial learning rates."""
        self.num_steps += 1
        unbias = [1 - beta**self.num_steps for beta in self.betas]
        for weight, gradient, (mean, square) in zip(self.weights, gradients, self.moments):
            mean.lerp_(gradient, 1 - self.betas[0])
            square.lerp_(gradient.square(), 1 - self.betas[1])
            lr, decay = (value.view(-1, *[1] * (weight.ndim - 1)) for value in (self.lr * share, self.decay))
            if weight.ndim > 2:  # no bias
                weight.mul_(1 - lr * decay)
            weight.sub_(lr * (mean / unbias[0]) / ((square / unbias[1]).sqrt_() + self.eps))


def _batches(num_items: int, batch_size: int, steps: int, seed: int):
    """Numbers of the items of each step: one permutation after the other; the last of each may be smaller."""
    generator, done = torch.Generator().manual_seed(seed), 0
    while True:
        for items in torch.randperm(num_items, generator=generator).split(batch_size):
            if done == steps:
                return
            yield items
            done += 1
