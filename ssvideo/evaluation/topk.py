"""Accuracy of scores."""
from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def topk_accuracy(scores: Tensor, labels: Tensor, topk: Sequence[int] = (1, 5)) -> dict[str, float]:
    """Share of the items whose own class is among the first j.

    That is the case if fewer than j other classes have as high a score as the own one or a higher one: a tie counts
    against an item, so that scores which tell nothing apart are no better than chance.

    Args:
        scores: ``(Q, classes)``, the higher the likelier.
        labels: ``(Q,)`` int64, below ``classes``.
        topk: the numbers j.

    Returns:
        ``top<j>`` for each j, in [0, 1].

    Raises:
        ValueError: if there is no item, or not one label for each.
    """
    if scores.dim() != 2 or labels.shape != scores.shape[:1] or not len(labels):
        raise ValueError(f'expected scores (Q, classes) of at least one item and labels (Q,), got {tuple(scores.shape)} and '
                         f'{tuple(labels.shape)}')
    own = scores.gather(1, labels[:, None])  # (Q, 1)
    ranks = (scores >= own).sum(1)  # 1 for a class that is alone in front
    return {f'top{j}': (ranks <= j).double().mean().item() for j in topk}
