"""Attention whose bias receives a gradient, without a matrix of all weights in memory: training on a CPU."""
from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

SEPARATED = -100.0
"""Attention logit of two cells that a shift brought together only by wrapping; as published."""
LOG2_E = math.log2(math.e)
SCORES_AT_ONCE = 2**20
"""Attention weights that the backward pass holds at once, 4 MiB: little enough for the cache that cores share, and enough heads
that each core has some."""


@torch.library.custom_op('ssvideo::biased_attention', mutates_args=(), device_types='cpu')
def biased_attention(qkv: Tensor, bias: Tensor, apart: Tensor | None, runs: list[int]) -> tuple[Tensor, Tensor]:
    """Attend inside windows, with one bias for all of them.

    torch's fused kernel for CPUs refuses a bias that needs a gradient, and without it every weight is written to memory
    several times. Here the kernel runs in the forward pass; the backward pass computes the weights again, a few windows
    at a time, from the logarithms of their sums that the kernel returns.

    Args:
        qkv: ``(N * num_windows, L, 3 * C)``, queries, keys and values, each of all heads.
        bias: ``(heads, L, L)``, added to the logits of every window; heads divide C.
        apart: ``(num_windows, 1, L, L)`` bool, True where a logit is :data:`SEPARATED` instead of what it would be;
            ``None`` where no cells are kept apart.
        runs: lengths of the runs of windows whose ``apart`` is the same; their sum is ``num_windows``. ``[num_windows]``
            without ``apart``.

    Returns:
        ``(N * num_windows, L, C)``, and the logarithms of the sums of the weights, ``(N * num_windows, heads, L)``.
    """
    query, key, value = _heads(qkv, 3, len(bias)).unbind(0)
    attended = qkv.new_empty(len(qkv), qkv.shape[1], len(bias), query.shape[-1])
    log_sums = qkv.new_empty(query.shape[:3], dtype=torch.promote_types(qkv.dtype, torch.float32))
    for windows, shared in _runs(bias, apart, runs, len(qkv)):
        out, log_sum = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query[windows], key[windows], value[windows], attn_mask=shared.unsqueeze(0).to(qkv.dtype))
        attended[windows] = out.transpose(1, 2)
        log_sums[windows] = log_sum
    return attended.flatten(2), log_sums


@biased_attention.register_fake
def _shapes(qkv, bias, apart, runs):
    windows, length, width = qkv.shape
    log_sums = qkv.new_empty(windows, len(bias), length, dtype=torch.promote_types(qkv.dtype, torch.float32))
    return qkv.new_empty(windows, length, width // 3), log_sums


@torch.library.custom_op('ssvideo::biased_attention_backward', mutates_args=(), device_types='cpu')
def biased_attention_backward(grad: Tensor, qkv: Tensor, bias: Tensor, apart: Tensor | None, runs: list[int],
                              attended: Tensor, log_sums: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of ``qkv`` and ``bias``, given that of the first result of :func:`biased_attention`.

    Weights are powers of 2, which are faster than those of e, so logits and sums are scaled by log2(e). Half precision is
    computed in float32.

    Args:
        grad: gradient of ``attended``.
        qkv: as the forward pass had it.
        bias: as the forward pass had it.
        apart: as the forward pass had it.
        runs: as the forward pass had it.
        attended: first result of the forward pass.
        log_sums: second result of the forward pass.
    """
    num_heads, dtype = len(bias), log_sums.dtype
    scale = (qkv.shape[-1] // 3 // num_heads) ** -0.5
    query, key, value = (part.to(dtype).contiguous() for part in _heads(qkv, 3, num_heads).unbind(0))
    query = query * (scale * LOG2_E)
    grad = _heads(grad, 1, num_heads)[0].to(dtype).contiguous()
    # what the softmax's gradient subtracts from that of each weight of a row
    centre = (grad * _heads(attended, 1, num_heads)[0]).sum(-1, keepdim=True)
    log_sums = (log_sums * LOG2_E).unsqueeze(-1)
    grads = query.new_empty(3, *query.shape)
    grad_query, grad_key, grad_value = grads.unbind(0)
    grad_bias = torch.zeros_like(bias, dtype=dtype)
    for windows, shared in _runs(bias, apart, runs, len(qkv)):
        shared = shared.to(dtype) * LOG2_E
        for chunk, heads in _chunks(windows, num_heads, qkv.shape[1]):
            one = chunk, heads
            weights = (shared[heads] - log_sums[one]).flatten(0, 1)
            weights.baddbmm_(query[one].flatten(0, 1), key[one].flatten(0, 1).transpose(1, 2)).exp2_()
            out_grad = grad[one].flatten(0, 1)
            torch.bmm(weights.transpose(1, 2), out_grad, out=grad_value[one].flatten(0, 1))
            score_grad = torch.bmm(out_grad, value[one].flatten(0, 1).transpose(1, 2))
            score_grad.sub_(centre[one].flatten(0, 1)).mul_(weights)
            for window in score_grad.unflatten(0, (-1, len(shared[heads]))):
                grad_bias[heads] += window
            torch.bmm(score_grad, key[one].flatten(0, 1), out=grad_query[one].flatten(0, 1))
            torch.bmm(score_grad.transpose(1, 2), query[one].flatten(0, 1), out=grad_key[one].flatten(0, 1))
    grad_query.mul_(scale)
    grad_key.div_(LOG2_E)  # the scale is in the queries already
    return grads.permute(1, 3, 0, 2, 4).flatten(2).to(qkv.dtype), grad_bias.to(bias.dtype)


@biased_attention_backward.register_fake
def _shapes_backward(grad, qkv, bias, apart, runs, attended, log_sums):
    return torch.empty_like(qkv, memory_format=torch.contiguous_format), torch.empty_like(bias)


def _heads(x: Tensor, parts: int, num_heads: int) -> Tensor:
    """``(windows, L, parts * C)`` -> ``(parts, windows, heads, L, C / heads)``, a view."""
    return x.unflatten(-1, (parts, num_heads, -1)).permute(2, 0, 3, 1, 4)


def _runs(bias: Tensor, apart: Tensor | None, runs: list[int], num_windows: int) -> Iterator[tuple[slice, Tensor]]:
    """Neighbouring windows, of one clip where cells are kept apart, and the ``(heads, L, L)`` that their logits receive."""
    if apart is None:
        yield slice(0, num_windows), bias
        return
    first = 0
    for length in runs:
        shared = bias.masked_fill(apart[first], SEPARATED)
        for clip in range(0, num_windows, len(apart)):
            yield slice(clip + first, clip + first + length), shared
        first += length


def _chunks(windows: slice, num_heads: int, length: int) -> Iterator[tuple[slice, slice]]:
    """Parts of the windows that have about :data:`SCORES_AT_ONCE` weights: some windows, or some heads of one."""
    heads_at_once = max(1, SCORES_AT_ONCE // length**2)
    windows_at_once = max(1, heads_at_once // num_heads)
    for first in range(windows.start, windows.stop, windows_at_once):
        chunk = slice(first, min(first + windows_at_once, windows.stop))
        for head in range(0, num_heads, heads_at_once):
            yield chunk, slice(head, min(head + heads_at_once, num_heads))


def _keep(ctx, inputs, output) -> None:
    qkv, bias, apart, ctx.runs = inputs
    ctx.save_for_backward(qkv, bias, apart, *output)
    ctx.mark_non_differentiable(output[1])


def _backward(ctx, grad: Tensor, _) -> tuple[Tensor | None, ...]:
    qkv, bias, apart, attended, log_sums = ctx.saved_tensors
    return *biased_attention_backward(grad, qkv, bias, apart, ctx.runs, attended, log_sums), None, None


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
