"""The tests' slow reference of the transformer: one clip at a time, attention and norms written out."""
from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .vit_blocks import NORM_EPS, ViTStage


def slow_norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """Layer norm of ``(K, C)``, row by row."""
    rows = [(row - row.mean()) / ((row - row.mean()).square().mean() + NORM_EPS).sqrt() for row in x]
    return torch.stack(rows) * norm.weight + norm.bias


def slow_stage(stage: ViTStage, x: Tensor) -> Tensor:
    """All blocks of a stage on the ``(K, C)`` tokens of one clip."""
    for block in stage.blocks:
        x = x + _attend(block.attn, slow_norm(block.norm1, x))
        hidden = slow_norm(block.norm2, x) @ block.mlp.fc1.weight.t() + block.mlp.fc1.bias
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))  # exact GELU
        x = x + hidden @ block.mlp.fc2.weight.t() + block.mlp.fc2.bias
    return x


def _attend(attention: nn.Module, x: Tensor) -> Tensor:
    dims = x.shape[1]
    size = dims // attention.num_heads
    weight, bias = attention.qkv.weight, attention.qkv.bias
    heads = []
    for head in range(attention.num_heads):
        query, key, value = (x @ weight[start:start + size].t() + bias[start:start + size]
                             for start in (part * dims + head * size for part in range(3)))
        scores = query @ key.t() / math.sqrt(size)
        shares = scores.exp() / scores.exp().sum(1, keepdim=True)
        heads.append(shares @ value)
    return torch.cat(heads, dim=1) @ attention.proj.weight.t() + attention.proj.bias
