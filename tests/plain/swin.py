"""Video Swin written out."""
from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssvideo.models.backbones.video_swin import VideoSwin
from ssvideo.models.layers.swin_stage import PatchMerging, SwinBlock
from ssvideo.models.layers.window_attention import WindowAttention
from ssvideo.structures import Features

Grid = tuple[int, int, int]


class PlainVideoSwin(VideoSwin):
    """Rolls the grid, cuts it by copies, and writes all attention weights, biases and masks to memory.

    Source: Video Swin Transformer, arXiv:2106.13230, Sec. 3; Swin Transformer, arXiv:2103.14030, Sec. 3.2; what hides
    patches: BEVT, arXiv:2112.01529, Sec. 3.
    """

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> Features:
        """See :meth:`Backbone.forward`."""
        stem = self.patch_embed_2d if inputs.shape[2] == 1 and self.patch_embed_2d is not None else self.patch_embed
        x = stem.norm(stem.proj(inputs).permute(0, 2, 3, 4, 1))  # (N, t, h, w, C)
        if mask is not None:
            hidden = F.interpolate((mask != 0).to(x.dtype).unsqueeze(1), x.shape[1:4], mode='nearest')[:, 0].unsqueeze(-1)
            x = x * (1 - hidden) + self.mask_embedding * hidden
        maps = []
        for stage in self.layers:
            for number, block in enumerate(stage.blocks):
                shift = tuple(size // 2 for size in stage.window) if number % 2 else (0, 0, 0)
                x = _block(block, x, stage.window, shift)
            maps.append(x)
            if stage.downsample is not None:
                x = _merge(stage.downsample, x)
        return Features(tuple(maps), self.norm(x).mean((1, 2, 3)))


def _block(block: SwinBlock, x: Tensor, window: Grid, shift: Grid) -> Tensor:
    grid = tuple(x.shape[1:4])
    size = tuple(min(pair) for pair in zip(grid, window))
    shift = tuple(0 if cells <= side else step for cells, side, step in zip(grid, window, shift))
    short = [-cells % side for cells, side in zip(grid, size)]
    padded = F.pad(block.norm1(x), (0, 0, 0, short[2], 0, short[1], 0, short[0]))
    rolled = torch.roll(padded, [-step for step in shift], (1, 2, 3)) if any(shift) else padded
    shape = tuple(padded.shape[1:4])
    mask = _mask(shape, size, shift, padded.dtype) if any(shift) else None
    windows = _attend(block.attn, _cut(rolled, size), mask)
    joined = _join(windows, size, (len(x), *shape))
    if any(shift):
        joined = torch.roll(joined, shift, (1, 2, 3))
    joined = joined[:, :grid[0], :grid[1], :grid[2]].contiguous()
    x = x + _drop_path(joined, block)
    return x + _drop_path(block.mlp.fc2(F.gelu(block.mlp.fc1(block.norm2(x)))), block)


def _drop_path(branch: Tensor, block: SwinBlock) -> Tensor:
    if not block.training or block.drop_path == 0:
        return branch
    keep = 1 - block.drop_path
    kept = torch.rand(len(branch), 1, 1, 1, 1, dtype=branch.dtype, device=branch.device).add(keep).floor()
    return branch / keep * kept


def _cut(x: Tensor, size: Grid) -> Tensor:
    """``(N, t, h, w, C)`` to ``(N * windows, L, C)``."""
    n, t, h, w, c = x.shape
    x = x.view(n, t // size[0], size[0], h // size[1], size[1], w // size[2], size[2], c)
    return x.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, size[0] * size[1] * size[2], c)


def _join(windows: Tensor, size: Grid, shape: tuple[int, int, int, int]) -> Tensor:
    """``(N * windows, L, C)`` to ``(N, t, h, w, C)``."""
    n, t, h, w = shape
    x = windows.view(n, t // size[0], h // size[1], w // size[2], *size, -1)
    return x.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(n, t, h, w, -1)


@lru_cache(maxsize=32)
def _mask(shape: Grid, size: Grid, shift: Grid, dtype: torch.dtype) -> Tensor:
    """``(windows, L, L)``: -100 where two cells are neighbours only because the grid was rolled."""
    numbers, number = torch.zeros(1, *shape, 1), 0
    parts = [(slice(-side), slice(-side, -step), slice(-step, None)) if step else (slice(None),)
             for side, step in zip(size, shift)]
    for t in parts[0]:
        for h in parts[1]:
            for w in parts[2]:
                numbers[:, t, h, w] = number
                number += 1
    cells = _cut(numbers, size).squeeze(-1)
    return torch.where(cells[:, None] == cells[:, :, None], 0.0, -100.0).to(dtype)


@lru_cache(maxsize=32)
def _pairs(window: Grid) -> Tensor:
    """The row of the bias table for each pair of cells of a full window, ``(L, L)``."""
    cells = torch.stack(torch.meshgrid(*map(torch.arange, window), indexing='ij')).flatten(1)
    distances = (cells[:, :, None] - cells[:, None]).permute(1, 2, 0)
    for axis, side in enumerate(window):
        distances[:, :, axis] += side - 1
    distances[:, :, 0] *= (2 * window[1] - 1) * (2 * window[2] - 1)
    distances[:, :, 1] *= 2 * window[2] - 1
    return distances.sum(-1)


def _attend(attention: WindowAttention, x: Tensor, mask: Tensor | None) -> Tensor:
    windows, length, dims = x.shape
    heads = attention.num_heads
    query, key, value = attention.qkv(x).reshape(windows, length, 3, heads, dims // heads).permute(2, 0, 3, 1, 4)
    scores = query * (dims // heads) ** -0.5 @ key.transpose(-2, -1)
    pairs = _pairs(attention.window)[:length, :length].reshape(-1).to(x.device)
    bias = attention.relative_position_bias_table[pairs].reshape(length, length, heads).permute(2, 0, 1).contiguous()
    scores = scores + bias
    if mask is not None:
        scores = (scores.unflatten(0, (-1, len(mask))) + mask.to(x.device)[:, None]).flatten(0, 1)
    attended = scores.softmax(-1) @ value
    return attention.proj(attended.transpose(1, 2).reshape(windows, length, dims))


def _merge(merging: PatchMerging | nn.Module, x: Tensor) -> Tensor:
    x = F.pad(x, (0, 0, 0, x.shape[3] % 2, 0, x.shape[2] % 2))
    corners = [x[:, :, row::2, column::2] for column in (0, 1) for row in (0, 1)]
    return merging.reduction(merging.norm(torch.cat(corners, -1)))
