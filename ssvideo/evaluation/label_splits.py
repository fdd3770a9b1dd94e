"""Parts of a labelled list, class by class."""
from __future__ import annotations

import numpy as np


def hold_out(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide items in two so that each class is divided alike.

    Of a class with n items, ``n * share`` (rounded, at least one) are held out; of a class with one item, none.

    Args:
        labels: ``(N,)`` class ids.
        share: that is held out, in (0, 1).
        seed: of the draw.

    Returns:
        Numbers of the items that stay and of those that are held out, each in rising order.

    Raises:
        ValueError: if the share is not in (0, 1).
    """
    if not 0 < share < 1:
        raise ValueError(f'the share that is held out must lie in (0, 1), got {share}')
    held = _drawn(labels, lambda count: min(max(round(count * share), 1), count - 1), seed)
    return np.setdiff1d(np.arange(len(labels)), held), held


def few_labels(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Draw a part of the items, of each class alike and at least one.

    Args:
        labels: ``(N,)`` class ids.
        fraction: of the items, in (0, 1].
        seed: of the draw.

    Returns:
        Their numbers in rising order.

    Raises:
        ValueError: if the fraction is not in (0, 1].
    """
    if not 0 < fraction <= 1:
        raise ValueError(f'a fraction of the labels must lie in (0, 1], got {fraction}')
    return _drawn(labels, lambda count: max(round(count * fraction), 1), seed)


def _drawn(labels: np.ndarray, how_many, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    found = [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    return np.sort(np.concatenate([numbers[:how_many(len(numbers))] for numbers in found]))
