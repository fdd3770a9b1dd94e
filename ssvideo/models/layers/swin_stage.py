"""One stage of a Video Swin Transformer: blocks on a grid, then patch merging."""
from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .linear import Linear
from .recomputed import recompute
from .window_attention import WindowAttention
from .windows import Grid, Windows, windows_of


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between.

    Args:
        dims: C.
        hidden_dims: width between the layers.
    """

    def __init__(self, dims: int, hidden_dims: int) -> None:
        super().__init__()
        self.fc1 = Linear(dims, hidden_dims)
        self.fc2 = Linear(hidden_dims, dims)

    def forward(self, x: Tensor) -> Tensor:
        """Map the last axis."""
        return self.fc2(F.gelu(self.fc1(x)))


class SwinBlock(nn.Module):
    """Window attention and an MLP, each behind a norm and beside a residual path.

    Args:
        dims: C.
        num_heads: heads.
        window: cells of a window per axis.
        mlp_ratio: hidden width of the MLP over C.
        drop_path: probability to skip a residual branch for a clip.
    """

    def __init__(self, dims: int, num_heads: int, window: Grid, mlp_ratio: float, drop_path: float) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(dims)
        self.attn = WindowAttention(dims, num_heads, window)
        self.norm2 = nn.LayerNorm(dims)
        self.mlp = Mlp(dims, int(dims * mlp_ratio))

    def forward(self, x: Tensor, windows: Windows, apart: Tensor | None) -> Tensor:
        """Encode ``(N, t, h, w, C)`` in the given windows; ``apart`` as in :meth:`WindowAttention.forward`."""
        attended = self.attn(windows.cut(self.norm1(x)), windows, apart)
        x = x + self._drop(windows.join(attended, x.shape))
        return x + self._drop(self.mlp(self.norm2(x)))

    def _drop(self, branch: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0:
            return branch
        keep = branch.new_ones(len(branch), 1, 1, 1, 1)
        return branch * F.dropout(keep, self.drop_path)


class PatchMerging(nn.Module):
    """Joins each 2 x 2 cells of a map into one of twice the width.

    Args:
        dims: C of the input.
    """

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.reduction = Linear(4 * dims, 2 * dims, bias=False)
        self.norm = nn.LayerNorm(4 * dims)

    def forward(self, x: Tensor) -> Tensor:
        """Take ``(N, t, h, w, C)`` to ``(N, t, ceil(h / 2), ceil(w / 2), 2 C)``; odd sides are padded with zeros."""
        if x.shape[2] % 2 or x.shape[3] % 2:
            x = F.pad(x, (0, 0, 0, x.shape[3] % 2, 0, x.shape[2] % 2))
        x = x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))  # (N, t, h / 2, 2, w / 2, 2, C)
        return self.reduction(self.norm(x.permute(0, 1, 2, 4, 5, 3, 6).flatten(4)))


class SwinStage(nn.Module):
    """Blocks whose windows lie alternately unshifted and shifted by half a window.

    Args:
        dims: C.
        num_heads: heads.
        window: cells of a window per axis.
        mlp_ratio: hidden width of an MLP over C.
        drop_paths: drop-path rate of each block; their number is the depth.
        merge: whether a patch merging to the next stage follows (called by the backbone as ``downsample``).
        checkpoint_activations: recompute each block in the backward pass instead of keeping its activations.
        keep_products: see :func:`recompute`.
    """

    def __init__(self, dims: int, num_heads: int, window: Grid, mlp_ratio: float, drop_paths: Sequence[float],
                 merge: bool, checkpoint_activations: bool, keep_products: bool) -> None:
        super().__init__()
        self.window = window
        self.checkpoint_activations, self.keep_products = checkpoint_activations, keep_products
        self.blocks = nn.ModuleList(SwinBlock(dims, num_heads, window, mlp_ratio, drop) for drop in drop_paths)
        self.downsample = PatchMerging(dims) if merge else None

    def forward(self, x: Tensor) -> Tensor:
        """Encode ``(N, t, h, w, C)``, of the same shape, not yet merged."""
        straight = self._windows(x, (0, 0, 0))
        shifted = self._windows(x, tuple(size // 2 for size in self.window)) if len(self.blocks) > 1 else straight
        apart = shifted.apart()
        for i, block in enumerate(self.blocks):
            args = (x, shifted, apart) if i % 2 else (x, straight, None)
            if self.checkpoint_activations and self.training:
                x = recompute(block, *args, keep_products=self.keep_products)
            else:
                x = block(*args)
        return x

    def _windows(self, x: Tensor, shift: Grid) -> Windows:
        return windows_of(x.shape[0], tuple(x.shape[1:4]), self.window, shift, x.device)
