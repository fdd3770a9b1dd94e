"""A linear layer that takes the faster of a CPU's two ways to a large matrix product."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LARGE_PRODUCT = 2**28
"""Multiply-accumulates from which on a convolution is the faster way; below, its set-up costs more than it saves."""


class Linear(nn.Linear):
    """``nn.Linear``; a large map in float32 on several cores of a CPU is computed as a convolution of single pixels.

    Both are the same map, equal but for rounding. oneDNN, which computes the convolution, adds the bias on the way and sums its
    gradient, and is up to 1.3 times as fast as the matrix product that ``F.linear`` calls: see docs/benchmarks.md.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map the last axis."""
        if not _faster_as_convolution(x, self.weight):
            return super().forward(x)
        pixels = x.contiguous().view(1, 1, -1, x.shape[-1]).permute(0, 3, 1, 2)  # (1, C, 1, rows), channels last in memory
        mapped = F.conv2d(pixels, self.weight[:, :, None, None], self.bias)
        return mapped.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)


def _faster_as_convolution(x: Tensor, weight: Tensor) -> bool:
    if x.device.type != 'cpu' or x.dtype != torch.float32 or weight.dtype != torch.float32:
        return False
    if torch.compiler.is_compiling() or torch.is_autocast_enabled('cpu') or not _onednn_would_do_it():
        return False
    return x.numel() * len(weight) >= LARGE_PRODUCT


def _onednn_would_do_it() -> bool:
    # With one thread torch does not give convolutions of single pixels to oneDNN, but to a slow way of its own.
    return torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled and torch.get_num_threads() > 1
