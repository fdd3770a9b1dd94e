"""Attention whose bias receives a gradient, without a matrix of all weights in memory: training on a CPU."""
from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

SEPARATED = -100.0
"""Added to the attention logit of two cells that a shift brought together only by wrapping; as published."""
LOG2_E = math.log2(math.e)
WEIGHTS_AT_ONCE = 2**20
"""Attention weights that are held at once, 4 MiB: little enough for the cache that cores share, and enough heads that each core
has some."""


@torch.library.custom_op('ssvideo::biased_attention', mutates_args=(), device_types='cpu')
def biased_attention(qkv: Tensor, bias: Tensor, apart: Tensor | None, runs: list[int]) -> tuple[Tensor, Tensor]:
    """Attend inside windows, with one bias for all of them.

    torch's fused kernel for CPUs refuses a bias that needs a gradient, and without it every weight is written to memory
    several times. Here the weights of a few heads are computed, used while the cache has them, and dropped; the backward pass
    computes them again. They are powers of 2, which are faster than those of e. Half precision is computed in float32.

    Args:
        qkv: ``(N * num_windows, L, 3 * C)``, queries, keys and values, each of all heads.
        bias: ``(heads, L, L)``, added to the logits of every window; heads divide C.
        apart: ``(num_windows, 1, L, L)`` bool, True where :data:`SEPARATED` is added to a logit; ``None`` where no cells are
            kept apart.
        runs: lengths of the runs of windows whose ``apart`` is the same; their sum is ``num_windows``. ``[num_windows]``
            without ``apart``.

    Returns:
        ``(N * num_windows, L, C)``, and what the backward pass adds to the logits, as powers of 2, so that the weights of a
        row sum to 1: ``(N * num_windows, heads, L, 1)``.
    """
    attended = qkv.new_empty(*qkv.shape[:2], qkv.shape[2] // 3)
    parts, results = _heads(qkv, 3, len(bias)), _heads(attended, 1, len(bias))[0]
    dtype, scale = torch.promote_types(qkv.dtype, torch.float32), parts.shape[-1] ** -0.5 * LOG2_E
    shifts = qkv.new_empty(*results.shape[:3], 1, dtype=dtype)
    bias = bias.to(dtype) * LOG2_E
    space = _space(bias)
    for piece, separated in _pieces(results, apart, runs):
        query, key, value = parts[:, *piece].to(dtype).contiguous().flatten(1, 2)
        weights, by_window = space[:len(query)], shifts[piece].shape[:2]
        weights.unflatten(0, by_window).copy_(bias[piece[1]])
        if separated is not None:
            weights += separated
        weights.baddbmm_(query, key.transpose(1, 2), alpha=scale)
        largest = weights.amax(-1, keepdim=True)
        sums = weights.sub_(largest).exp2_().sum(-1, keepdim=True)
        results[piece] = torch.bmm(weights, value).div_(sums).unflatten(0, by_window)
        shifts[piece] = sums.log2_().add_(largest).neg_().unflatten(0, by_window)
    return attended, shifts


@biased_attention.register_fake
def _shapes(qkv, bias, apart, runs):
    windows, length, width = qkv.shape
    shifts = qkv.new_empty(windows, len(bias), length, 1, dtype=torch.promote_types(qkv.dtype, torch.float32))
    return qkv.new_empty(windows, length, width // 3), shifts


@torch.library.custom_op('ssvideo::biased_attention_backward', mutates_args=(), device_types='cpu')
def biased_attention_backward(grad: Tensor, qkv: Tensor, bias: Tensor, apart: Tensor | None, runs: list[int],
                              attended: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of ``qkv`` and ``bias``, given that of the first result of :func:`biased_attention`.

    Args:
        grad: gradient of ``attended``.
        qkv: as the forward pass had it.
        bias: as the forward pass had it.
        apart: as the forward pass had it.
        runs: as the forward pass had it.
        attended: first result of the forward pass.
        shifts: second result of the forward pass.

    Returns:
        Of the shapes of ``qkv`` and ``bias``; the latter in the precision it was computed in.
    """
    parts, results, out_grads = _heads(qkv, 3, len(bias)), _heads(attended, 1, len(bias))[0], _heads(grad, 1, len(bias))[0]
    dtype, scale = shifts.dtype, parts.shape[-1] ** -0.5
    grads = torch.empty_like(qkv, memory_format=torch.contiguous_format)
    grad_parts = _heads(grads, 3, len(bias))
    bias = bias.to(dtype)
    spaces = _space(bias), _space(bias)
    # One sum for each window of a piece: cores then add what they computed themselves.
    grad_bias = bias.new_zeros(min(len(qkv), _windows_at_once(*bias.shape[:2])), *bias.shape)
    for piece, separated in _pieces(results, apart, runs):
        query, key, value = parts[:, *piece].to(dtype).contiguous().flatten(1, 2)
        (weights, score_grad), by_window = (space[:len(query)] for space in spaces), shifts[piece].shape[:2]
        torch.add(shifts[piece], bias[piece[1]], alpha=LOG2_E, out=weights.unflatten(0, by_window))
        if separated is not None:
            weights += separated
        weights.baddbmm_(query, key.transpose(1, 2), alpha=scale * LOG2_E).exp2_()

        out_grad = out_grads[piece].to(dtype).contiguous()
        # what the softmax's gradient subtracts from that of each weight of a row
        centre = (out_grad * results[piece]).sum(-1, keepdim=True).flatten(0, 1)
        out_grad = out_grad.flatten(0, 1)
        # The scale of the logits; the bias, which has none, is divided by it in the end.
        score_grad.copy_(centre * -scale).baddbmm_(out_grad, value.transpose(1, 2), alpha=scale).mul_(weights)
        grad_bias[:by_window[0], piece[1]] += score_grad.unflatten(0, by_window)

        of_parts = query.new_empty(3, *query.shape)
        torch.bmm(score_grad, key, out=of_parts[0])
        torch.bmm(score_grad.transpose(1, 2), query, out=of_parts[1])
        torch.bmm(weights.transpose(1, 2), out_grad, out=of_parts[2])
        grad_parts[:, *piece] = of_parts.unflatten(1, by_window)
    return grads, grad_bias.sum(0).div_(scale)


@biased_attention_backward.register_fake
def _shapes_backward(grad, qkv, bias, apart, runs, attended, shifts):
    return torch.empty_like(qkv, memory_format=torch.contiguous_format), torch.empty_like(bias, dtype=shifts.dtype)


def _heads(x: Tensor, parts: int, num_heads: int) -> Tensor:
    """``(windows, L, parts * C)`` -> ``(parts, windows, heads, L, C / heads)``, a view."""
    return x.unflatten(-1, (parts, num_heads, -1)).permute(2, 0, 3, 1, 4)


def _heads_at_once(length: int) -> int:
    return max(1, WEIGHTS_AT_ONCE // length**2)


def _windows_at_once(num_heads: int, length: int) -> int:
    return max(1, _heads_at_once(length) // num_heads)


def _space(bias: Tensor) -> Tensor:
    """Memory for the weights that are held at once, ``(heads, L, L)``."""
    num_heads, length, _ = bias.shape
    return bias.new_empty(min(_heads_at_once(length), num_heads * _windows_at_once(num_heads, length)), length, length)


def _pieces(results: Tensor, apart: Tensor | None, runs: list[int]) -> Iterator[tuple[tuple[slice, slice], Tensor | None]]:
    """What is computed at once, some windows or some heads of one, and what its logits receive where cells are kept apart."""
    num_windows, num_heads, length, _ = results.shape
    heads_at_once, windows_at_once = _heads_at_once(length), _windows_at_once(num_heads, length)
    for windows, separated in _runs(num_windows, apart, runs):
        for first in range(windows.start, windows.stop, windows_at_once):
            some = slice(first, min(first + windows_at_once, windows.stop))
            for head in range(0, num_heads, heads_at_once):
                yield (some, slice(head, head + heads_at_once)), separated


def _runs(num_windows: int, apart: Tensor | None, runs: list[int]) -> Iterator[tuple[slice, Tensor | None]]:
    """Neighbouring windows, of one clip where cells are kept apart, and the ``(L, L)`` that their logits receive."""
    if apart is None:
        yield slice(0, num_windows), None
        return
    first = 0
    for length in runs:
        separated = apart[first, 0] * (SEPARATED * LOG2_E)
        for clip in range(0, num_windows, len(apart)):
            yield slice(clip + first, clip + first + length), separated
        first += length


def _keep(ctx, inputs, output) -> None:
    qkv, bias, apart, ctx.runs = inputs
    ctx.save_for_backward(qkv, bias, apart, *output)
    ctx.mark_non_differentiable(output[1])


def _backward(ctx, grad: Tensor, _) -> tuple[Tensor | None, ...]:
    qkv, bias, apart, attended, shifts = ctx.saved_tensors
    grad_qkv, grad_bias = biased_attention_backward(grad, qkv, bias, apart, ctx.runs, attended, shifts)
    return grad_qkv, grad_bias.to(bias.dtype), None, None


biased_attention.register_autograd(_backward, setup_context=_keep)


@register_flop_formula(torch.ops.ssvideo.biased_attention)
def _forward_operations(qkv, *args, **kwargs) -> int:
    return 2 * _product(qkv)


@register_flop_formula(torch.ops.ssvideo.biased_attention_backward)
def _backward_operations(grad, qkv, *args, **kwargs) -> int:
    return 5 * _product(qkv)


def _product(qkv: tuple[int, ...]) -> int:
    """Operations of one of the products that make, or use, all weights; 2 a multiply-accumulate."""
    windows, length, width = qkv
    return 2 * windows * length**2 * (width // 3)
