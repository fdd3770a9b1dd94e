"""Multi-head attention inside windows, with a learned bias per relative position."""
from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .biased_attention import SEPARATED, biased_attention
from .linear import Linear
from .windows import Grid, Windows


class WindowAttention(nn.Module):
    """Self-attention inside the windows of a grid.

    Args:
        dims: C.
        num_heads: heads, a divisor of C.
        window: cells of a full window per axis; the size of the bias table.

    Source: Video Swin Transformer, arXiv:2106.13230, Sec. 3.2.
    """

    def __init__(self, dims: int, num_heads: int, window: Grid) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window = window
        num_distances = (2 * window[0] - 1) * (2 * window[1] - 1) * (2 * window[2] - 1)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(num_distances, num_heads))
        self.qkv = Linear(dims, 3 * dims)
        self.proj = Linear(dims, dims)

    def forward(self, x: Tensor, windows: Windows, apart: Tensor | None) -> Tensor:
        """Attend.

        Args:
            x: ``(N * num_windows, L, C)``.
            windows: the layout that cut ``x``.
            apart: ``(num_windows, 1, L, L)`` bool, see :meth:`Windows.apart`.

        Returns:
            Of the shape of ``x``.
        """
        bias, qkv = self.position_bias(windows.length), self.qkv(x)
        if _trains_on_cpu(qkv):
            return self.proj(biased_attention(qkv, bias.squeeze(0), apart, list(windows.runs))[0])
        # Where each window has a mask of its own, windows are laid beside the heads: the mask then is the same for all
        # clips and is broadcast by the kernel instead of copied for each.
        beside = 1
        if apart is not None:
            beside = windows.num_windows
            bias = (bias + SEPARATED * apart).flatten(0, 1).unsqueeze(0)  # (1, windows * heads, L, L)
        qkv = qkv.unflatten(-1, (3, self.num_heads, -1)).unflatten(0, (-1, beside))
        q, k, v = qkv.permute(3, 0, 1, 4, 2, 5).flatten(2, 3).unbind(0)  # (N * windows / beside, ..., L, C / heads)
        out = F.scaled_dot_product_attention(q, k, v, bias.to(q.dtype))
        return self.proj(out.unflatten(1, (beside, -1)).transpose(2, 3).reshape(x.shape))

    def position_bias(self, length: int) -> Tensor:
        """Look up the bias of each pair of cells in a window, ``(1, heads, length, length)``.

        A window that is clamped to a small grid uses the first ``length`` cells of the full window. In time that is
        the part of the table with the right distances (distance 0 for a single frame). In space, where a map is
        smaller than the window, it is how the released models and mmaction2 number the cells: trained tables expect it.
        """
        index, = _pair_index(self.window, length, str(self.relative_position_bias_table.device))
        return self.relative_position_bias_table.t().index_select(1, index).view(1, self.num_heads, length, length)


def _trains_on_cpu(qkv: Tensor) -> bool:
    """Where torch's fused kernels return no gradient of a bias. An exported graph keeps to operators that others have."""
    return qkv.device.type == 'cpu' and qkv.requires_grad and not torch.compiler.is_exporting()


@torch.compiler.assume_constant_result
def _pair_index(window: Grid, length: int, device: str) -> tuple[Tensor]:
    return (_cached_pair_index(window, length, device),)


@lru_cache(maxsize=64)
def _cached_pair_index(window: Grid, length: int, device: str) -> Tensor:
    """The row of the bias table for each pair of cells, ``(length * length,)``."""
    with torch.inference_mode(False):
        cells = torch.cartesian_prod(*(torch.arange(size) for size in window))[:length]  # (length, 3)
        distance = cells[:, None] - cells[None] + torch.tensor(window) - 1
        rows_per_step = torch.tensor([(2 * window[1] - 1) * (2 * window[2] - 1), 2 * window[2] - 1, 1])
        return (distance * rows_per_step).sum(-1).flatten().to(device)
