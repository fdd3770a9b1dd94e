"""Videos that are like a video: neighbours by the cosine of features."""
from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 1024
"""Queries that are compared at a time, so that not all similarities are in memory at once."""


def nearest(queries: Tensor, bank: Tensor, k: int, itself: Sequence[int | None] | None = None) -> tuple[Tensor, Tensor]:
    """The k items of a bank that are most like each query; of equally near ones the first.

    Args:
        queries: ``(Q, C)`` features of any length.
        bank: ``(M, C)``, on the queries' device.
        k: neighbours.
        itself: for each query the item of the bank that is the query itself and does not count; ``None`` for none.

    Returns:
        Cosines ``(Q, k)``, falling, and indices into the bank ``(Q, k)`` int64.

    Raises:
        ValueError: if shapes do not fit, or the bank has fewer than k items beside the query itself.
    """
    if queries.dim() != 2 or bank.dim() != 2 or queries.shape[1] != bank.shape[1] or not len(queries):
        raise ValueError(f'queries and bank must be (items, channels) with as many channels, got {tuple(queries.shape)} and '
                         f'{tuple(bank.shape)}')
    itself = [None] * len(queries) if itself is None else list(itself)
    others = len(bank) - any(item is not None for item in itself)
    if not 1 <= k <= others:
        raise ValueError(f'k: got {k}, expected 1 to {others}, as there are {len(bank)} videos to be found'
                         + (', one of which is the query' if others < len(bank) else ''))
    unit, found = F.normalize(bank.float(), dim=1).t(), []
    for start in range(0, len(queries), CHUNK):
        cosines = F.normalize(queries[start:start + CHUNK].float(), dim=1) @ unit
        for row, item in enumerate(itself[start:start + CHUNK]):
            if item is not None:
                cosines[row, item] = -torch.inf
        values, indices = cosines.sort(dim=1, descending=True, stable=True)
        found.append((values[:, :k], indices[:, :k]))
    values, indices = zip(*found)
    return torch.cat(values), torch.cat(indices)


def recall_at(neighbour_labels: Tensor, query_labels: Tensor, ks: Sequence[int]) -> dict[str, float]:
    """The share of queries with a video of their own class among the k nearest, for each k.

    Args:
        neighbour_labels: ``(Q, K)`` int64, the nearest first.
        query_labels: ``(Q,)``.
        ks: numbers k, K at most.

    Returns:
        ``{'recall@1': ..., ...}`` in [0, 1].

    Raises:
        ValueError: for a k that is out of range.

    Source: as nearest-neighbour retrieval is reported since Xu et al., Video Clip Order Prediction, CVPR 2019.
    """
    if not ks or min(ks) < 1 or max(ks) > neighbour_labels.shape[1]:
        raise ValueError(f'recall: got k of {list(ks)}, expected 1 to {neighbour_labels.shape[1]}')
    right = neighbour_labels == query_labels[:, None]
    return {f'recall@{k}': right[:, :k].any(1).double().mean().item() for k in ks}
