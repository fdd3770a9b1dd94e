"""Predict the tokens of masked positions: what every objective over discrete targets shares."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..layers.linear_cross_entropy import linear_cross_entropy
from ..tokenizers.codebook_signals import codebook_signals


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
    """Mean cross entropy over masked positions, and what shows a collapse.

    Args:
        logits: ``(P, vocabulary)``, masked positions only; computed on in float32 at least.
        targets: ``(P,)`` int64 ids.

    Returns:
        ``loss``; ``accuracy``, share of positions in [0, 1] whose highest score is the target's; and, of the ids at the
        P positions of this batch, the number that would be as even: ``target_perplexity`` of the targets,
        ``predicted_perplexity`` of the ids that score highest. A model that says the same everywhere has 1. All 0-d. With
        P = 0 all are zero and ``loss`` keeps the graph, so that every parameter still receives a (zero) gradient.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if logits.shape[0] == 0:
        zero = logits.sum()
        return {'loss': zero} | dict.fromkeys(('accuracy', 'target_perplexity', 'predicted_perplexity'), zero.detach())
    return _terms(F.cross_entropy(logits, targets), logits.detach().argmax(dim=-1), targets, logits.shape[1])


def masked_linear_cross_entropy(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """:func:`masked_cross_entropy` of the scores of a linear layer, for training: not all scores exist at a time.

    Args:
        hidden: ``(P, C)``, masked positions only.
        weight: ``(vocabulary, C)`` of the layer.
        bias: ``(vocabulary,)`` of the layer.
        targets: ``(P,)`` int64 ids.

    Returns:
        As :func:`masked_cross_entropy`.
    """
    if hidden.shape[0] == 0:
        return masked_cross_entropy(F.linear(hidden, weight, bias), targets)
    return _terms(*linear_cross_entropy(hidden, weight, bias, targets), targets, len(weight))


def _terms(loss: Tensor, predicted: Tensor, targets: Tensor, vocab_size: int) -> dict[str, Tensor]:
    return {
        'loss': loss,
        'accuracy': (predicted == targets).to(loss.dtype).mean(),
        'target_perplexity': codebook_signals(targets, vocab_size)['codebook_perplexity'],
        'predicted_perplexity': codebook_signals(predicted, vocab_size)['codebook_perplexity']}
