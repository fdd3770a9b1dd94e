"""Figures that show a collapse of features or targets while a model pre-trains; kept on the device until they are asked for."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from torch import Tensor


def feature_std(features: Tensor) -> float:
    """How far features of clips spread: 1 in all directions alike, 0 where all clips look the same.

    Args:
        features: ``(M, C)``; of any length, compared on the unit sphere.

    Returns:
        The standard deviation over the clips, averaged over the channels, times the root of C.

    Source: SimSiam, arXiv:2011.10566, Sec. 4.1 (there without the factor).
    """
    unit = F.normalize(features.float(), dim=1)
    return (unit.std(0, correction=0).mean() * unit.shape[1] ** 0.5).item()


def effective_rank(features: Tensor) -> float:
    """How many directions features of clips really use: from 1, or 0 where they are all equal, to min(M - 1, C).

    Args:
        features: ``(M, C)``; their mean is taken away first.

    Returns:
        The exponential of the entropy of the singular values, normalised to the sum 1; NaN where a feature is not finite.

    Source: Roy and Vetterli, The effective rank: a measure of effective dimensionality, EUSIPCO 2007.
    """
    rows = features.cpu().double()
    if not rows.isfinite().all():
        return float('nan')
    rows = rows - rows.mean(0)
    gram = rows @ rows.t() if rows.shape[0] < rows.shape[1] else rows.t() @ rows
    values = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()  # in float64 the root of rounding errors is still small
    total = values.sum()
    return torch.special.entr(values / total).sum().exp().item() if total > 0 else 0.0


class LastRows:
    """The features of the last clips, in a ring on the device.

    Args:
        num_rows: how many clips.
    """

    def __init__(self, num_rows: int) -> None:
        self.num_rows = num_rows
        self._ring: Tensor | None = None
        self._num_seen = 0

    def add(self, rows: Tensor) -> None:
        """Add ``(N, C)``; the oldest give way."""
        rows = rows.detach()[-self.num_rows:].float()
        if self._ring is None:
            self._ring = rows.new_empty(self.num_rows, rows.shape[1])
        places = torch.arange(self._num_seen, self._num_seen + len(rows), device=rows.device) % self.num_rows
        self._ring.index_copy_(0, places, rows)
        self._num_seen += len(rows)

    def rows(self) -> Tensor:
        """``(M, C)``, in any order."""
        return self._ring[:self._num_seen]


class SeenIds:
    """Which ids of a vocabulary have occurred since the last reading.

    Args:
        vocab_size: number of ids.
        device: where they come from.
    """

    def __init__(self, vocab_size: int, device: torch.device) -> None:
        self._seen = torch.zeros(vocab_size, dtype=torch.uint8, device=device)

    def add(self, ids: Tensor) -> None:
        """Note int64 ids of any shape."""
        self._seen.index_fill_(0, ids.flatten(), 1)

    def take_share(self) -> float:
        """Share of the vocabulary that any process has seen, and begin anew. All processes call it together."""
        all_reduce(self._seen, 'max')
        share = self._seen.float().mean().item()
        self._seen.zero_()
        return share
