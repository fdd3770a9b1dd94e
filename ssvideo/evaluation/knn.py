"""Classification by nearest neighbours: what frozen features are worth, with nothing to train."""
from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .topk import topk_accuracy

MAX_COSINES = 2**24
"""Similarities held at a time (64 MiB in float32): queries are taken in chunks that stay below."""


def knn_votes(bank: Tensor, bank_labels: Tensor, queries: Tensor, num_classes: int, k: int = 20,
              temperature: float = 0.07) -> Tensor:
    """Let the k most similar items of a bank vote for their classes, each with the weight exp(cosine / temperature).

    Items exactly as similar as the k-th vote, too, so that their order does not matter; with k at or above the number
    of items all vote. Votes are scaled for each query so that they cannot overflow: they are only to be compared.

    Args:
        bank: ``(M, C)`` features of any length, on any device; computed on in float32 at least.
        bank_labels: ``(M,)`` int64, below ``num_classes``.
        queries: ``(Q, C)``, on the bank's device.
        num_classes: number of classes.
        k: neighbours that vote.
        temperature: the lower, the more the nearest of them count.

    Returns:
        ``(Q, num_classes)``, the votes for each class; 0 where no neighbour is of it.

    Raises:
        ValueError: if a list is empty, shapes do not fit, or ``k`` or ``temperature`` is not positive.

    Source: Wu et al., arXiv:1805.01978, Sec. 3.4, where k = 200; DINO, arXiv:2104.14294, has k = 20; both T = 0.07.
    """
    _check(bank, bank_labels, queries, k, temperature)
    dtype = torch.promote_types(bank.dtype, torch.float32)
    with torch.autocast(bank.device.type, enabled=False):
        items = F.normalize(bank.to(dtype), dim=1).t()  # (C, M)
        classes = F.one_hot(bank_labels, num_classes).to(dtype)  # (M, classes)
        return torch.cat([_votes(F.normalize(chunk.to(dtype), dim=1) @ items, classes, min(k, len(bank)), temperature)
                          for chunk in queries.split(max(1, MAX_COSINES // len(bank)))])


def knn_accuracy(bank: Tensor, bank_labels: Tensor, queries: Tensor, query_labels: Tensor, k: int = 20,
                 temperature: float = 0.07, topk: Sequence[int] = (1, 5)) -> dict[str, float]:
    """Accuracy of the classes that :func:`knn_votes` puts first.

    Ties count against a query, see :func:`~ssvideo.evaluation.topk.topk_accuracy`.

    Args:
        bank: ``(M, C)``, the labelled features that vote.
        bank_labels: ``(M,)`` int64.
        queries: ``(Q, C)``, the features to classify.
        query_labels: ``(Q,)`` int64.
        k: neighbours that vote.
        temperature: of their weights.
        topk: the numbers j to report.

    Returns:
        ``top<j>`` for each j, a share of the queries in [0, 1].

    Raises:
        ValueError: as :func:`knn_votes`; also if queries have a class of which the bank has no item.
    """
    if query_labels.shape != queries.shape[:1]:
        raise ValueError(f'{len(queries)} queries need as many labels, got {tuple(query_labels.shape)}')
    if unknown := sorted(set(query_labels.tolist()) - set(bank_labels.tolist())):
        raise ValueError(f'the queries have {len(unknown)} classes of which the bank has no item, as {unknown[:5]}: '
                         'label both lists alike, and let the bank have every class')
    num_classes = int(bank_labels.max()) + 1 if len(bank_labels) else 0
    return topk_accuracy(knn_votes(bank, bank_labels, queries, num_classes, k, temperature), query_labels, topk)


def _votes(cosines: Tensor, classes: Tensor, k: int, temperature: float) -> Tensor:
    """Votes of one chunk of queries: ``(q, M)`` cosines to ``(q, classes)``."""
    nearest = cosines.topk(k, dim=1).values  # (q, k), in falling order
    weights = ((cosines - nearest[:, :1]) / temperature).exp()  # relative to the nearest: low temperatures are safe
    return weights.masked_fill(cosines < nearest[:, -1:], 0) @ classes


def _check(bank: Tensor, bank_labels: Tensor, queries: Tensor, k: int, temperature: float) -> None:
    if bank.dim() != 2 or queries.dim() != 2 or bank.shape[1] != queries.shape[1] or not len(bank) or not len(queries):
        raise ValueError('bank and queries must be (items, channels) with as many channels and at least one item, got '
                         f'{tuple(bank.shape)} and {tuple(queries.shape)}')
    if bank_labels.shape != bank.shape[:1]:
        raise ValueError(f'a bank of {len(bank)} items needs as many labels, got {tuple(bank_labels.shape)}')
    if k < 1 or temperature <= 0:
        raise ValueError(f'k must be at least 1 and temperature positive, got k={k} and temperature={temperature}')
