"""Attention along the lines of a token grid, with [CLS] in front of every line."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
    """Cut a sequence into lines, each with a copy of [CLS] in front.

    Args:
        x: ``(N, 1 + t * h * w, D)``, [CLS] first.
        grid: ``(t, h, w)``.
        axes: along which the lines run, such as ``'T'`` or ``'HW'``.

    Returns:
        ``(N * lines, 1 + L, D)``.
    """
    if axes == AXES:
        return x
    along, across = _dims(axes)
    cls, tokens = x.split([1, x.shape[1] - 1], dim=1)
    tokens = tokens.unflatten(1, grid).permute(0, *across, *along, 4)
    tokens = tokens.flatten(1 + len(across), 3)  # (N, *across, L, D)
    cls = cls.view(x.shape[0], *[1] * len(across), 1, -1).expand(*tokens.shape[:-2], 1, -1)
    return torch.cat([cls, tokens], dim=-2).flatten(0, -3)


def from_lines(lines: Tensor, grid: Grid, axes: str) -> tuple[Tensor, Tensor]:
    """Undo :func:`to_lines`; the copies of [CLS] are averaged.

    Args:
        lines: ``(N * lines, 1 + L, D)``.
        grid: ``(t, h, w)``.
        axes: along which the lines run.

    Returns:
        [CLS] ``(N, 1, D)`` and the tokens ``(N, t, h, w, D)``, the latter a view.
    """
    along, across = _dims(axes)
    sizes = [grid[dim - 1] for dim in across]
    lines = lines.unflatten(0, (-1, *sizes))  # (N, *across, 1 + L, D)
    cls, tokens = lines.split([1, lines.shape[-2] - 1], dim=-2)
    tokens = tokens.unflatten(-2, [grid[dim - 1] for dim in along])
    order = (0, *across, *along, 4)
    tokens = tokens.permute([order.index(dim) for dim in range(5)])
    return cls.flatten(1, -2).mean(dim=1, keepdim=True), tokens


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
    visible = F.pad(visible.flatten(1), (1, 0), value=True).unsqueeze(-1)
    return to_lines(visible, grid, axes)[:, None, None, :, 0]


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
        self.qkv = nn.Linear(dims, 3 * attention_dims)  # rows: (branch, q k v, head, head_dims)
        self.out = nn.Linear(attention_dims, dims)

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
            return self.out(parts[0])
        cls, tokens = zip(*(from_lines(part, self.grid, axes) for part, axes in zip(parts, self.branches)))
        tokens = torch.cat(tokens, dim=-1).flatten(1, 3)
        return self.out(torch.cat([torch.cat(cls, dim=-1), tokens], dim=1))

    def _attend(self, qkv: Tensor, mask: Tensor | None, axes: str) -> Tensor:
        lines = to_lines(qkv, self.grid, axes).unflatten(-1, (3, -1, self.head_dims))  # (N*lines, 1 + L, 3, heads, d)
        query, key, value = lines.permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask,
                                                  dropout_p=self.dropout if self.training else 0.0)
        return attended.transpose(1, 2).flatten(2)  # (N*lines, 1 + L, heads * d)
