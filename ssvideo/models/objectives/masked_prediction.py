"""Predict the tokens of masked positions: what every objective over discrete targets shares."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def gather_positions(x: Tensor, positions: Tensor) -> Tensor:
    """Take the values at some positions of the token grid, without asking the device how many there are.

    Args:
        x: ``(N, t, h, w)`` or ``(N, t, h, w, C)``.
        positions: ``(P,)`` int64 indices into the flattened ``(N, t, h, w)``.

    Returns:
        ``(P,)`` or ``(P, C)``.
    """
    return x.flatten(0, 3).index_select(0, positions)


def masked_cross_entropy(logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Mean cross entropy and top-1 accuracy over masked positions.

    Args:
        logits: ``(P, vocabulary)``, masked positions only; computed on in float32 at least.
        targets: ``(P,)`` int64 ids.

    Returns:
        ``loss`` and ``accuracy`` (share of positions in [0, 1]), both 0-d. With P = 0 both are zero and ``loss``
        keeps the graph, so that every parameter still receives a (zero) gradient.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if logits.shape[0] == 0:
        zero = logits.sum()
        return {'loss': zero, 'accuracy': zero.detach()}
    accuracy = (logits.detach().argmax(dim=-1) == targets).to(logits.dtype).mean()
    return {'loss': F.cross_entropy(logits, targets), 'accuracy': accuracy}
