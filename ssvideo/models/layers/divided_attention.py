"""Attention along the lines of a token grid, with [CLS] in front of every line."""
from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .linear import Linear

Grid = tuple[int, int, int]
AXES = 'THW'


def parse_layout(layout: str) -> list[list[str]]:
    """Read a layout such as ``'T,H|W'``.

    Args:
        layout: attention blocks one after another, separated by ``,``; branches of a block that run in parallel,
            separated by ``|``; a branch names the axes along which its lines run, any of T, H, W in this order.

    Returns:
        For each block the axes of its branches: ``[['T'], ['H', 'W']]``.

    Raises:
        ValueError: if a branch is not made of T, H, W in this order.
    """
    blocks = [block.split('|') for block in layout.split(',')]
    for branch in (branch for block in blocks for branch in block):
        if not branch or branch != ''.join(axis for axis in AXES if axis in branch):
            raise ValueError(f"layout {layout!r}: {branch!r} is not a line; name axes of T, H, W in this order, as in "
                             "'T,H|W', 'T,H,W', 'T,HW' or 'THW'")
    return blocks


def to_lines(x: Tensor, grid: Grid, axes: str) -> Tensor:
    """Cut sequences into lines, each with a copy of [CLS] in front, heads before them: as attention reads them.

    Args:
        x: ``(N, 1 + t * h * w, heads, D)``, [CLS] first.
        grid: ``(t, h, w)``.
        axes: along which the lines run, such as ``'T'`` or ``'HW'``.

    Returns:
        ``(N * lines, heads, 1 + L, D)``, copied once.
    """
    if axes == AXES:
        return x.transpose(1, 2)
    along, across = _dims(axes)
    cls, tokens = x.split([1, x.shape[1] - 1], dim=1)
    tokens = tokens.unflatten(1, grid).permute(0, *across, 4, *along, 5)
    tokens = tokens.flatten(-1 - len(along), -2)  # (N, *across, heads, L, D)
    cls = cls.view(cls.shape[0], *[1] * len(across), cls.shape[2], 1, -1).expand(*tokens.shape[:-2], 1, -1)
    return torch.cat([cls, tokens], dim=-2).flatten(0, len(across))


def from_lines(lines: Tensor, grid: Grid, axes: str) -> tuple[Tensor, Tensor]:
    """Undo :func:`to_lines`; the copies of [CLS] are averaged.

    Args:
        lines: ``(N * lines, heads, 1 + L, D)``.
        grid: ``(t, h, w)``.
        axes: along which the lines run.

    Returns:
        [CLS] ``(N, 1, heads, D)`` and the tokens ``(N, t, h, w, heads, D)``, the latter a view.
    """
    along, across = _dims(axes)
    sizes = [grid[dim - 1] for dim in across]
    cls, tokens = lines.split([1, lines.shape[-2] - 1], dim=-2)
    cls = cls.unflatten(0, (-1, math.prod(sizes))).mean(dim=1)
    tokens = tokens.unflatten(0, (-1, *sizes)).unflatten(-2, [grid[dim - 1] for dim in along])  # (N, *across, heads, *along, D)
    order = (0, *across, 4, *along, 5)
    tokens = tokens.permute([order.index(dim) for dim in range(6)])
    return cls.transpose(1, 2), tokens


def line_masks(visible: Tensor | None, grid: Grid, axes: str) -> Tensor | None:
    """Arrange which tokens may be attended to, for the lines of one branch.

    Args:
        visible: ``(N, t, h, w)`` bool, False at PAD; ``None`` where there is none.
        grid: ``(t, h, w)``.
        axes: along which the lines run.

    Returns:
        ``(N * lines, 1, 1, 1 + L)`` bool; [CLS] is always True, so that no line is empty. ``None`` where all are visible.
    """
    if visible is None:
        return None
    visible = F.pad(visible.flatten(1), (1, 0), value=True)
    return to_lines(visible[..., None, None], grid, axes).transpose(-1, -2)


def _dims(axes: str) -> tuple[list[int], list[int]]:
    """Dimensions of ``(N, t, h, w, D)`` along and across the lines."""
    along = [1 + AXES.index(axis) for axis in axes]
    return along, [dim for dim in (1, 2, 3) if dim not in along]


class DividedAttention(nn.Module):
    """Multi-head attention whose heads are shared out among parallel branches, each with lines of its own.

    In every line [CLS] attends and is attended to like a token; its copies are averaged before the output projection
    (as in the authors' code; Eq. 15 reads as if it were after the norm). Queries, keys and values of all branches come
    from one matrix product over the sequence, so [CLS] is projected once and not once for each line.

    Args:
        dims: C.
        attention_dims: width of queries, keys and values over all heads.
        num_heads: heads over all branches.
        branches: the axes of each branch's lines, ``['H', 'W']``.
        grid: ``(t, h, w)``.
        dropout: probability to drop an attention weight.

    Raises:
        ValueError: if heads or widths do not divide.

    Source: VIMPAC, arXiv:2106.11250, App. A.1, Eqs. 9-15; Sparse Transformer, arXiv:1904.10509.
    """

    def __init__(self, dims: int, attention_dims: int, num_heads: int, branches: list[str], grid: Grid,
                 dropout: float) -> None:
        super().__init__()
        if num_heads % len(branches) or attention_dims % num_heads:
            raise ValueError(f"attention block {'|'.join(branches)}: num_heads={num_heads} must divide by its "
                             f'{len(branches)} branches, and attention_dims={attention_dims} by num_heads')
        self.branches = branches
        self.grid = grid
        self.head_dims = attention_dims // num_heads
        self.dropout = dropout
        self.qkv = Linear(dims, 3 * attention_dims)  # rows: (branch, q k v, head, head_dims)
        self.out = Linear(attention_dims, dims)

    def forward(self, x: Tensor, masks: dict[str, Tensor | None]) -> Tensor:
        """Attend.

        Args:
            x: ``(N, 1 + t * h * w, C)``, [CLS] first.
            masks: from :func:`line_masks`, by the axes of a branch.

        Returns:
            ``(N, 1 + t * h * w, C)``.
        """
        parts = [self._attend(qkv, masks[axes], axes)
                 for qkv, axes in zip(self.qkv(x).chunk(len(self.branches), dim=-1), self.branches)]
        if self.branches == [AXES]:
            return self.out(parts[0].transpose(1, 2).flatten(2))
        cls, tokens = zip(*(from_lines(part, self.grid, axes) for part, axes in zip(parts, self.branches)))
        cls, tokens = torch.cat(cls, dim=-2), torch.cat(tokens, dim=-2)
        return self.out(torch.cat([cls, tokens.flatten(1, 3)], dim=1).flatten(2))

    def split_heads(self, qkv: Tensor, axes: str) -> list[Tensor]:
        """Queries, keys and values of a branch, each ``(N * lines, heads, 1 + L, head_dims)``.

        Args:
            qkv: ``(N, 1 + t * h * w, 3 * heads * head_dims)``, the branch's part of what ``self.qkv`` gives.
            axes: of the branch's lines.
        """
        return [to_lines(part, self.grid, axes) for part in qkv.unflatten(-1, (3, -1, self.head_dims)).unbind(2)]

    def _attend(self, qkv: Tensor, mask: Tensor | None, axes: str) -> Tensor:
        return F.scaled_dot_product_attention(*self.split_heads(qkv, axes), attn_mask=mask,
                                              dropout_p=self.dropout if self.training else 0.0)
