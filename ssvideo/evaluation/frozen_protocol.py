"""Frozen evaluation: settings are chosen on a held-out part of the training list, and tested once."""
from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from .feature_cache import FrozenFeatures
from .frozen_methods import Method, Part
from .label_splits import few_labels, hold_out
from .topk import topk_accuracy

HELD_OUT = 0.2
"""Share of the labelled videos on which settings are chosen."""


@dataclass
class Trial:
    """One seed of one method.

    Args:
        seed: of the labels drawn, of what was held out, of the training.
        setting: that was chosen.
        num_labels: videos learned from, in the end.
        held_out: videos on which the setting was chosen; 0: it is the method's default, as no class had two labels.
        chosen_by: top-1 on these.
        figures: ``top1`` and ``top5`` in [0, 1] by list.
    """
    seed: int
    setting: Mapping[str, float]
    num_labels: int
    held_out: int
    chosen_by: float | None
    figures: dict[str, dict[str, float]]


@dataclass
class Row:
    """All seeds of one method with one share of the labels.

    Args:
        method: its name.
        fraction: of the labels.
        trials: by seed.
    """
    method: str
    fraction: float
    trials: list[Trial]

    def summary(self, name: str, figure: str = 'top1') -> tuple[float, float | None]:
        """Mean and standard deviation over the seeds of a figure on a list; ``None`` of a single seed."""
        values = [trial.figures[name][figure] for trial in self.trials]
        return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None

    def as_dict(self) -> dict:
        """In JSON's types."""
        found = {name: self.summary(name) for name in self.trials[0].figures}
        return dict(method=self.method, fraction=self.fraction, mean={name: mean for name, (mean, _) in found.items()},
                    std={name: std for name, (_, std) in found.items()}, trials=[asdict(trial) for trial in self.trials])


def evaluate_frozen(train: FrozenFeatures, tests: Mapping[str, FrozenFeatures], methods: Sequence[Method],
                    fractions: Sequence[float], seeds: Sequence[int],
                    advance: Callable[[str], None] = lambda done: None) -> list[Row]:
    """Compare methods on the features of a frozen backbone.

    For each method, share of the labels and seed: the labels are drawn from the training list, a part of them is held out,
    and the whole grid is tried on it. The setting that is best there learns from all of the labels drawn and is tested,
    once. Nothing of a test list is looked at before. Training videos that could not be read are left out, test videos count
    as wrong.

    Args:
        train: features of the training list.
        tests: of the test lists, by name.
        methods: to compare.
        fractions: of the labels, each class alike and at least one; 1 for all.
        seeds: of the trials.
        advance: is told of each trial that is done.

    Returns:
        A row for each method and share.

    Raises:
        ValueError: if nothing of a list could be read.
    """
    readable = {name: Part.of(features, np.flatnonzero(~features.missing)) for name, features in tests.items()}
    usable = np.flatnonzero(~train.missing)
    for name, part in {'the training list': usable, **{name: part.items for name, part in readable.items()}}.items():
        if not len(part):
            raise ValueError(f'no video of {name} can be read')
    num_classes = 1 + max(int(features.labels.max()) for features in (train, *tests.values()))
    rows = []
    for method in methods:
        for fraction in fractions:
            row = Row(method.name, fraction, [])
            for seed in seeds:
                known = usable[few_labels(train.labels.numpy()[usable], fraction, seed)]
                row.trials.append(_try(method, train, known, readable, num_classes, seed))
                advance(f'{method.name}, {fraction:.0%}')
            rows.append(row)
    return rows


def choose(method: Method, train: FrozenFeatures, known: np.ndarray, num_classes: int,
           seed: int) -> tuple[Mapping[str, float], int, float | None]:
    """Choose the setting of a method on a held-out part of some training videos.

    Of settings with the same accuracy, the one that makes the true classes likeliest.

    Args:
        method: with its grid.
        train: features of the training list.
        known: numbers of the videos whose labels may be looked at.
        num_classes: of the scores.
        seed: of what is held out, and of the training.

    Returns:
        The setting; how many videos were held out; its top-1 on them. Where no class has two videos: the default, 0, None.
    """
    stay, held = hold_out(train.labels.numpy()[known], HELD_OUT, seed)
    if not len(held):
        return method.default, 0, None
    asked = Part.of(train, known[held])
    scores, = method.scores(Part.of(train, known[stay]), method.grid, [asked], num_classes, seed)
    top1 = [topk_accuracy(one, asked.labels, (1,))['top1'] for one in scores]
    likelihood = [_likelihood(one, asked.labels) for one in scores]
    best = max(range(len(method.grid)), key=lambda i: (top1[i], likelihood[i]))
    return method.grid[best], len(held), top1[best]


def _try(method: Method, train: FrozenFeatures, known: np.ndarray, tests: Mapping[str, Part], num_classes: int,
         seed: int) -> Trial:
    setting, num_held, top1 = choose(method, train, known, num_classes, seed)
    found = method.scores(Part.of(train, known), [setting], list(tests.values()), num_classes, seed)
    figures = {}
    for (name, part), scores in zip(tests.items(), found):
        read = len(part.items) / len(part.features)
        figures[name] = {top: value * read for top, value in topk_accuracy(scores[0], part.labels).items()}
    return Trial(seed, dict(setting), len(known), num_held, top1, figures)


def _likelihood(scores: Tensor, labels: Tensor) -> float:
    """Mean logarithm of the probability of the true classes; the lowest there is, where it is no number."""
    value = scores.log_softmax(-1).gather(1, labels[:, None]).mean()
    return value.item() if torch.isfinite(value) else -float('inf')
