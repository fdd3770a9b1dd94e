"""Ways to classify frozen features, each with a grid of settings: nearest neighbours, linear and attentive probes."""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from .feature_cache import FrozenFeatures
from .knn import knn_votes
from .probe_grid import Point, ProbeGrid
from .probes import AttentiveProbes, LinearProbes

Pool = Literal['summary', 'map']
FEWEST_VOTES = 1e-6
"""The share of the votes that stands for none, in a logarithm."""


@dataclass(frozen=True)
class Part:
    """Some videos of a list.

    Args:
        features: of the list.
        items: ``(n,)`` int64, numbers of the videos.
    """
    features: FrozenFeatures
    items: Tensor

    @classmethod
    def of(cls, features: FrozenFeatures, items: np.ndarray | Sequence[int]) -> Part:
        """The videos with some numbers."""
        return cls(features, torch.as_tensor(np.asarray(items), dtype=torch.long))

    @property
    def labels(self) -> Tensor:
        """``(n,)`` int64."""
        return self.features.labels[self.items]


class Method(ABC):
    """Classifies videos with what it learns from others.

    Attributes:
        name: for tables.
        grid: settings to choose from, dicts of numbers.
        default: the setting where there is nothing to choose by.
    """
    name: str
    grid: Sequence[Mapping[str, float]]

    @property
    def default(self) -> Mapping[str, float]:
        return self.grid[len(self.grid) // 2]

    @abstractmethod
    def scores(self, known: Part, settings: Sequence[Mapping[str, float]], asked: Sequence[Part], num_classes: int,
               seed: int) -> list[Tensor]:
        """Learn from some videos with each of some settings, and classify others.

        Args:
            known: with labels.
            settings: S of the grid.
            asked: whose labels are not looked at.
            num_classes: of the scores.
            seed: of what is random.

        Returns:
            ``(S, n, num_classes)`` for each of ``asked``, logits on the host.
        """


class NearestNeighbours(Method):
    """Votes of the nearest videos; nothing is random.

    Args:
        pool: which vector stands for a video.
        ks: numbers of neighbours.
        temperatures: of their weights; see :func:`~ssvideo.evaluation.knn.knn_votes`.
        device: of the computation.
    """

    def __init__(self, pool: Pool, ks: Sequence[int], temperatures: Sequence[float], device: torch.device) -> None:
        self.name, self.pool, self.device = f'kNN, {pool}', pool, device
        self.grid = [dict(k=k, temperature=temperature) for k, temperature in product(ks, temperatures)]

    def scores(self, known, settings, asked, num_classes, seed):
        """See :class:`Method`."""
        bank, labels = known.features.pooled[self.pool][known.items].to(self.device), known.labels.to(self.device)
        found = []
        for part in asked:
            queries = part.features.pooled[self.pool][part.items].to(self.device)
            votes = torch.stack([knn_votes(bank, labels, queries, num_classes, **setting) for setting in settings])
            found.append((votes / votes.sum(-1, keepdim=True)).clamp_min(FEWEST_VOTES).log().cpu())
        return found


class Probes(Method):
    """Probes of all settings, trained at once.

    Args:
        what: the features: the pool whose vectors a linear probe classifies, or ``'tokens'`` for an attentive probe.
        lrs: initial learning rates.
        weight_decays: of the weights.
        epochs: passes over the known videos.
        min_steps: more passes where there are few of them.
        batch_size: videos of a step.
        device: of the training.
    """

    def __init__(self, what: Pool | Literal['tokens'], lrs: Sequence[float], weight_decays: Sequence[float], epochs: int,
                 min_steps: int, batch_size: int, device: torch.device) -> None:
        self.name = 'attentive probe' if what == 'tokens' else f'linear probe, {what}'
        self.what, self.device = what, device
        self.grid = [dict(lr=lr, weight_decay=decay) for lr, decay in product(lrs, weight_decays)]
        self.training = dict(epochs=epochs, min_steps=min_steps, batch_size=batch_size)

    def scores(self, known, settings, asked, num_classes, seed):
        """See :class:`Method`."""
        if self.what == 'tokens':
            dims, kind, read = known.features.tokens(known.items[:1]).shape[-1], AttentiveProbes, self._tokens
        else:
            vectors = known.features.pooled[self.what][known.items]
            mean, std = vectors.mean(0), vectors.std(0, correction=0).clamp_min(1e-6)
            dims, kind = len(mean), LinearProbes

            def read(part):
                return lambda items: ((part.features.pooled[self.what][part.items[items]] - mean) / std).to(self.device)
        probes = ProbeGrid(lambda number: kind(number, dims, num_classes), [Point(**s) for s in settings], seed, self.device)
        probes.train(read(known), known.labels, **self.training)
        return [probes.scores(read(part), len(part.items)) for part in asked]

    def _tokens(self, part: Part):
        return lambda items: part.features.tokens(part.items[items]).to(self.device).float()
