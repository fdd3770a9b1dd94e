"""The blocks of a vision transformer."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ssvideo.models.layers.swin_stage import Mlp

NORM_EPS = 1e-6  # VideoMAE and V-JEPA, published code


class JointAttention(nn.Module):
    """Attention between all tokens of a clip.

    Args:
        dims: C.
        num_heads: heads.

    Raises:
        ValueError: if the heads do not divide C.
    """

    def __init__(self, dims: int, num_heads: int) -> None:
        super().__init__()
        if dims % num_heads:
            raise ValueError(f'{num_heads} heads do not divide {dims} channels: change num_heads or embed_dims')
        self.num_heads = num_heads
        self.qkv = nn.Linear(dims, 3 * dims)
        self.proj = nn.Linear(dims, dims)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map ``(N, K, C)`` to the same shape; ``mask`` is bool, True where a key may be attended to, ``(N, 1, 1, K)``."""
        query, key, value = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)  # (N, heads, K, c)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.proj(attended.transpose(1, 2).flatten(2))


class ViTBlock(nn.Module):
    """Attention and an MLP, each behind a norm and beside a residual path.

    Args:
        dims: C.
        num_heads: heads.
        mlp_ratio: hidden width of the MLP over C.
        drop_path: probability to skip a residual branch for a clip.
    """

    def __init__(self, dims: int, num_heads: int, mlp_ratio: float, drop_path: float) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(dims, eps=NORM_EPS)
        self.attn = JointAttention(dims, num_heads)
        self.norm2 = nn.LayerNorm(dims, eps=NORM_EPS)
        self.mlp = Mlp(dims, int(dims * mlp_ratio))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode ``(N, K, C)``; ``mask`` as in :meth:`JointAttention.forward`."""
        x = x + self._drop(self.attn(self.norm1(x), mask))
        return x + self._drop(self.mlp(self.norm2(x)))

    def _drop(self, branch: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0:
            return branch
        return branch * F.dropout(branch.new_ones(len(branch), 1, 1), self.drop_path)


class ViTStage(nn.Module):
    """Blocks of one width. Named as a stage of Video Swin, so that what counts layers counts them.

    Args:
        dims: C.
        num_layers: blocks.
        num_heads: heads of each.
        mlp_ratio: hidden width of an MLP over C.
        drop_path_rate: drop-path rate of the last block; it grows linearly from 0.
        checkpoint_activations: recompute blocks in the backward pass instead of keeping their activations.
    """

    downsample = None

    def __init__(self, dims: int, num_layers: int, num_heads: int, mlp_ratio: float = 4.0, drop_path_rate: float = 0.0,
                 checkpoint_activations: bool = False) -> None:
        super().__init__()
        self.checkpoint_activations = checkpoint_activations
        self.blocks = nn.ModuleList(
            ViTBlock(dims, num_heads, mlp_ratio, i * drop_path_rate / max(num_layers - 1, 1)) for i in range(num_layers))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode ``(N, K, C)``; ``mask`` as in :meth:`JointAttention.forward`."""
        for block in self.blocks:
            if self.checkpoint_activations and torch.is_grad_enabled():
                x = checkpoint(block, x, mask, use_reentrant=False)
            else:
                x = block(x, mask)
        return x


def initialise(module: nn.Module) -> None:
    """VideoMAE's law, for ``Module.apply``: weights of linear layers uniform after Glorot, biases 0."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
