"""Cross entropy of a linear layer's scores, of which only some rows exist at a time."""
from __future__ import annotations

import torch
from torch import Tensor

ROWS_AT_ONCE = 2048
"""Rows of scores that exist at once: 64 MiB of them in float32 for 8192 ids."""


def linear_cross_entropy(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross entropy of ``hidden @ weight.T + bias``, and what scores highest.

    The gradients are computed in the forward pass, from the scores that are there: nothing of them is kept, nothing is
    computed twice, and the result is exact. Under autocast products are in its precision; the rest is in float32 at least.

    Args:
        hidden: ``(P, C)``, P at least 1.
        weight: ``(vocabulary, C)``.
        bias: ``(vocabulary,)``.
        targets: ``(P,)`` int64 ids.

    Returns:
        The loss, 0-d, and ``(P,)`` int64 ids.
    """
    device = hidden.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        precision = torch.get_autocast_dtype(device)
        hidden, weight, bias = hidden.to(precision), weight.to(precision), bias.to(precision)
    return _LinearCrossEntropy.apply(hidden, weight, bias, targets)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight, bias, targets):
        dtype = torch.promote_types(hidden.dtype, torch.float32)
        loss = hidden.new_zeros((), dtype=dtype)
        predicted = torch.empty_like(targets)
        grads = torch.empty_like(hidden), torch.zeros_like(weight, dtype=dtype), torch.zeros_like(bias, dtype=dtype)
        for first in range(0, len(hidden), ROWS_AT_ONCE):
            rows = slice(first, first + ROWS_AT_ONCE)
            scores = torch.addmm(bias, hidden[rows], weight.t()).to(dtype)
            wanted = targets[rows].unsqueeze(1)
            predicted[rows] = scores.argmax(1)
            log_sums = scores.logsumexp(1, keepdim=True)
            loss += (log_sums - scores.gather(1, wanted)).sum()
            grad = scores.sub_(log_sums).exp_().scatter_add_(1, wanted, scores.new_full(wanted.shape, -1.0)).div_(len(hidden))
            grads[2].add_(grad.sum(0))
            grad = grad.to(hidden.dtype)
            torch.mm(grad, weight, out=grads[0][rows])
            grads[1].add_(grad.t() @ hidden[rows])
        ctx.save_for_backward(*grads)
        ctx.dtype = weight.dtype
        ctx.mark_non_differentiable(predicted)
        return loss / len(hidden), predicted

    @staticmethod
    def backward(ctx, grad, _):
        hidden, weight, bias = ctx.saved_tensors
        return (hidden * grad).to(hidden.dtype), (weight * grad).to(ctx.dtype), (bias * grad).to(ctx.dtype), None
