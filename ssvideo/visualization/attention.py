"""Where a backbone looks: attention weights, computed a second time beside the fused kernels that do not return them."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..models.layers.divided_attention import DividedAttention, to_lines
from ..models.layers.swin_stage import SwinBlock
from ..models.layers.window_attention import SEPARATED, WindowAttention
from ..models.layers.windows import Windows

Place = tuple[float, float, float]
"""A place in a clip, as shares of its duration, height and width, each from 0 to below 1."""


@dataclass
class AttentionMap:
    """How the attention of one module falls on the cells of clips.

    Args:
        name: of the module, and of the branch.
        weights: ``(N, heads, t, h, w)``. For a place, the attention that its cell pays: the sum is 1, less what goes to
            [CLS] or to the padding of windows. Without one, the attention that [CLS] pays, on average over its copies (the
            sum is again 1, less what goes to [CLS]); in windows, where there is no [CLS], the attention that each cell is
            paid in total: 1 where all pay alike.
    """
    name: str
    weights: Tensor


def attention_modules(backbone: nn.Module) -> dict[str, nn.Module]:
    """The attention modules of a backbone that can be looked into, by their names in it, in order.

    Raises:
        ValueError: if there is none.
    """
    found = {name: module for name, module in backbone.named_modules() if isinstance(module, tuple(_MAPS))}
    if not found:
        raise ValueError(f'{type(backbone).__name__} has no {" and no ".join(kind.__name__ for kind in _MAPS)}: its attention '
                         'cannot be drawn')
    return found


@contextmanager
def watch_attention(modules: Mapping[str, nn.Module], place: Place | None = None) -> Iterator[list[AttentionMap]]:
    """Collect the attention of modules while a model runs; the model computes what it always does.

    Args:
        modules: some of :func:`attention_modules`. In training mode dropout acts on the model's weights, not on these.
        place: whose attention; ``None``: that of [CLS], or that of all. See :class:`AttentionMap`.

    Returns:
        A context that gives the list that the forward pass fills.
    """
    found: list[AttentionMap] = []

    def hook_of(name: str):
        def hook(module: nn.Module, args: tuple, output: Tensor) -> None:
            with torch.no_grad():
                found.extend(_MAPS[type(module)](name, module, *args, place))
        return hook

    hooks = [module.register_forward_hook(hook_of(name)) for name, module in modules.items()]
    try:
        yield found
    finally:
        for handle in hooks:
            handle.remove()


def line_weights(module: DividedAttention, x: Tensor, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The attention weights of the lines of each branch, from the arguments of the module's ``forward``.

    Returns:
        ``(N * lines, heads, 1 + L, 1 + L)`` by the axes of the branch; rows are queries, [CLS] is first.
    """
    weights = {}
    for qkv, axes in zip(module.qkv(x).chunk(len(module.branches), dim=-1), module.branches):
        query, key, _ = module.split_heads(qkv, axes)
        scores = query @ key.transpose(-1, -2) / module.head_dims**0.5
        weights[axes] = scores.masked_fill(~masks[axes], -torch.inf).softmax(-1)
    return weights


def window_weights(module: WindowAttention, x: Tensor, windows: Windows, apart: Tensor | None) -> Tensor:
    """The attention weights in windows, from the arguments of the module's ``forward``.

    Args:
        module: the attention.
        x: ``(N * num_windows, L, C)``.
        windows: the layout that cut ``x``.
        apart: ``(num_windows, 1, L, L)`` bool, see :meth:`Windows.apart`.

    Returns:
        ``(N * num_windows, heads, L, L)``; rows are queries.
    """
    query, key, _ = module.qkv(x).unflatten(-1, (3, module.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    scores = query @ key.transpose(-1, -2) / query.shape[-1]**0.5  # (N * num_windows, heads, L, L)
    bias = module.position_bias(windows.length)
    if apart is not None:
        bias = (bias + SEPARATED * apart).repeat(len(x) // windows.num_windows, 1, 1, 1)
    return (scores + bias).softmax(-1)


def _line_maps(name: str, module: DividedAttention, x: Tensor, masks: Mapping[str, Tensor],
               place: Place | None) -> list[AttentionMap]:
    num_cells = x.shape[1] - 1
    numbers = torch.arange(-1, num_cells, device=x.device).view(1, -1, 1, 1)  # [CLS] is -1
    maps = []
    for axes, weights in line_weights(module, x, masks).items():
        cells = to_lines(numbers, module.grid, axes)[:, 0, :, 0]  # (lines, 1 + L): which cell each place of a line is
        weights = weights.unflatten(0, (len(x), -1))  # (N, lines, heads, 1 + L, 1 + L)
        if place is None:
            rows = weights[..., 0, :] / len(cells)
        else:
            line, row = (cells == _cell(place, module.grid)).nonzero()[0].tolist()
            rows, cells = weights[:, line:line + 1, :, row], cells[line:line + 1]
        on_cells = weights.new_zeros(len(x), weights.shape[2], num_cells)
        on_cells[..., cells[:, 1:].flatten()] = rows[..., 1:].transpose(1, 2).flatten(2)
        maps.append(AttentionMap(f'{name}, {axes}', on_cells.unflatten(-1, module.grid)))
    return maps


def _window_maps(name: str, block: SwinBlock, x: Tensor, windows: Windows, apart: Tensor | None,
                 place: Place | None) -> list[AttentionMap]:
    weights = window_weights(block.attn, windows.cut(block.norm1(x)), windows, apart)  # (N * num_windows, heads, L, L)
    grid = tuple(x.shape[1:4])
    if place is None:
        paid = (weights * _real_cells(windows, weights)).sum(2)  # (N * num_windows, heads, L)
    else:
        paid = torch.zeros_like(weights[:, :, 0])
        where = windows.inverse.view(len(x), -1)[:, _cell(place, grid)]  # of each clip
        window, row = where // windows.length, where % windows.length
        paid[window] = weights[window, :, row]
    joined = windows.join(paid.transpose(1, 2).contiguous(), torch.Size((*x.shape[:4], paid.shape[1])))
    return [AttentionMap(name, joined.permute(0, 4, 1, 2, 3))]


def _real_cells(windows: Windows, weights: Tensor) -> Tensor | int:
    """1 for queries of the grid, 0 for those of its padding, ``(N * num_windows, 1, L, 1)``."""
    return 1 if windows.padding is None else (~windows.padding).view(len(weights), 1, -1, 1).to(weights.dtype)


def _cell(place: Place, grid: Sequence[int]) -> int:
    """The number of the cell at a place, in the flattened grid."""
    if len(place) != 3 or not all(0 <= share < 1 for share in place):
        raise ValueError(f'a place is three shares (of duration, height, width) from 0 to below 1, got {tuple(place)}')
    t, y, x = (int(share * size) for share, size in zip(place, grid))
    return (t * grid[1] + y) * grid[2] + x


_MAPS = {DividedAttention: _line_maps, SwinBlock: _window_maps}
