"""Bring together rows of all processes, or of several steps, so that gradients flow back."""
from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


class _GatherStack(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        stacked = x.new_empty(dist.get_world_size(), *x.shape)
        dist.all_gather(list(stacked.unbind(0)), x.contiguous())
        return stacked

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        return grad[dist.get_rank()] * dist.get_world_size()


def gather_stack(x: Tensor) -> Tensor:
    """Stack the tensors of all processes, for a loss that every process computes in full and alike.

    The gradient is that of the one loss, times the number of processes: data-parallel training *averages* gradients,
    while each process contributes only the part of the loss's gradient that runs through its own rows. After
    averaging, parameters before the gather and after it receive exactly what one process with all rows would give
    them. As every process holds the same gradient already, the backward pass sends nothing.

    Args:
        x: any tensor, of the same shape on every process.

    Returns:
        ``(processes, *x.shape)``; ``x[None]`` where there is one process.
    """
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return x.unsqueeze(0)
    return _GatherStack.apply(x)


class _PutLive(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, cached: Tensor, place: int) -> Tensor:
        ctx.place = place
        stacked = cached.clone()
        stacked[place] = x
        return stacked

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad[ctx.place] * len(grad), None, None


def put_live(x: Tensor, cached: Tensor, place: int) -> Tensor:
    """Put rows that carry a gradient among cached ones that do not, for a loss over the rows of several steps.

    The gradient is that of the one loss, times M, for the reason given in :func:`gather_stack`: each of the M steps
    (or processes) computes the whole loss and contributes only what runs through its own rows, and the M are averaged.

    Args:
        x: the rows of this step.
        cached: ``(M, *x.shape)``, of the same type.
        place: which of the M they are.

    Returns:
        ``(M, *x.shape)``.

    Source: gradient caching, arXiv:2101.06983.
    """
    return _PutLive.apply(x, cached, place)
