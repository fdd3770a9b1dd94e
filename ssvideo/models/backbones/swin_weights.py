"""Fit Swin weights of another patch depth or window to a Video Swin model."""
from __future__ import annotations

import math
import re

import torch.nn.functional as F
from torch import Tensor

from ...utils.swin_names import PATCH_KERNEL, own_names

Window = tuple[int, int, int]


def adapt_swin(weights: dict[str, Tensor], model: dict[str, Tensor],
               window: Window) -> tuple[dict[str, Tensor], list[str]]:
    """Fit weights of a Swin model to a model of another patch depth or window size.

    - Names of 2D Swin and Video Swin become ours, see :func:`own_names`.
    - The kernel of one-frame patches is inflated to deeper ones: repeated, divided by the depth. A model with an image
      stem receives the one-frame patch embedding itself as ``patch_embed_2d``, norm included: the image stream of the
      inflated model then computes what the image model computed.
    - Bias tables are repeated in time (2 Td - 1 times) where the image model has one temporal distance; between
      windows of several frames they are interpolated: linearly in time as the released BEVT does, bicubically in space
      as mmaction2 does (both ``align_corners=False``). A video table for a one-frame window gives its temporal distance
      0.

    Args:
        weights: names as in this model, shapes of another.
        model: state dict of the model to fill.
        window: its window size.

    Returns:
        The fitted weights (``weights`` itself is left as it is), and one line per changed tensor.

    Raises:
        ValueError: if a table or kernel cannot be fitted, or the weights lie under a key of their own.

    Source: BEVT, arXiv:2112.01529, Sec. 3; Video Swin Transformer, arXiv:2106.13230, Sec. 3.3.
    """
    if isinstance(weights.get('model'), dict):
        raise ValueError('the weights lie under "model", as Microsoft saves 2D Swin and MoBY: convert the file with '
                         '"tools/convert_checkpoint.py swin2d SOURCE OUT" and load OUT with prefix=\'backbone.\'')
    final_norm = next(name for name in model if re.fullmatch(r'norm\d+\.weight', name)).removesuffix('.weight')
    fitted, lines = own_names(weights, final_norm)
    is_image_model = PATCH_KERNEL in fitted and fitted[PATCH_KERNEL].shape[2] == 1
    _inflate_patches(fitted, model, lines)
    for name in [n for n in fitted if n.endswith('relative_position_bias_table') and n in model]:
        table, wanted = fitted[name], model[name].shape
        source = _window_of(name, table, window, is_image_model)
        if table.shape[1] != wanted[1]:
            raise ValueError(f'{name}: {table.shape[1]} heads do not fit {wanted[1]}; load weights of the same size')
        if source != window:
            fitted[name] = _resize_table(table, source, window)
            lines.append(f'{name}: window {source} -> {window}, {tuple(table.shape)} -> {tuple(wanted)}')
    return fitted, lines


def _inflate_patches(fitted: dict[str, Tensor], model: dict[str, Tensor], lines: list[str]) -> None:
    stem = [name for name in model if name.startswith('patch_embed_2d.')]
    kernel, wanted = fitted.get(PATCH_KERNEL), model[PATCH_KERNEL].shape
    if not stem:
        for name in [n for n in fitted if n.startswith('patch_embed_2d.')]:
            del fitted[name]
            lines.append(f'{name}: dropped, the model has no image stem')
    if kernel is None or kernel.shape == wanted:
        return
    if kernel.shape[2] != 1 or kernel.shape[:2] != wanted[:2] or kernel.shape[3:] != wanted[3:]:
        raise ValueError(f'{PATCH_KERNEL}: {tuple(kernel.shape)} cannot be fitted to {tuple(wanted)}; '
                         'only patches of one frame are inflated, at equal height, width and channels')
    for name in stem:
        if name not in fitted:
            fitted[name] = fitted[name.replace('patch_embed_2d.', 'patch_embed.')]
            lines.append(f'{name}: taken from the image model, {tuple(fitted[name].shape)}')
    fitted[PATCH_KERNEL] = kernel.repeat(1, 1, wanted[2], 1, 1) / wanted[2]
    lines.append(f'{PATCH_KERNEL}: {tuple(kernel.shape)} -> {tuple(wanted)}, repeated in time / {wanted[2]}')


def _window_of(name: str, table: Tensor, window: Window, is_image_model: bool) -> Window:
    """Tell from the rows of a table, (2 Td - 1)(2 Th - 1)(2 Tw - 1), the window it was made for.

    Taken in this order: this model's own window; for an image model one frame and a square; this model's height and
    width with another depth; this model's depth with another square.
    """
    rows = len(table)
    in_time, in_space = 2 * window[0] - 1, (2 * window[1] - 1) * (2 * window[2] - 1)
    if rows == in_time * in_space:
        return window
    side = math.isqrt(rows)
    if is_image_model and side % 2 and side**2 == rows:
        return 1, (side + 1) // 2, (side + 1) // 2
    depth, rest = divmod(rows, in_space)
    if rest == 0 and depth % 2:
        return (depth + 1) // 2, window[1], window[2]
    side = math.isqrt(rows // in_time)
    if side % 2 and side**2 * in_time == rows:
        return window[0], (side + 1) // 2, (side + 1) // 2
    raise ValueError(f'{name}: a table of {rows} rows fits no window that differs from {window} in its depth or in its '
                     'height and width alone; load it into a model of its own window first')


def _resize_table(table: Tensor, source: Window, window: Window) -> Tensor:
    """Take a bias table ``(rows, heads)`` from one window to another."""
    (t, h, w), (t_new, h_new, w_new) = ([2 * size - 1 for size in sizes] for sizes in (source, window))
    heads = table.shape[1]
    table_of_heads = table.t().reshape(heads, t, h, w)
    if t_new == 1:
        table_of_heads = table_of_heads[:, t // 2:t // 2 + 1]
    elif t == 1:
        table_of_heads = table_of_heads.expand(-1, t_new, -1, -1)
    elif t != t_new:
        lines = table_of_heads.permute(0, 2, 3, 1).reshape(1, -1, t)
        lines = F.interpolate(lines.float(), size=t_new, mode='linear')
        table_of_heads = lines.view(heads, h, w, t_new).permute(0, 3, 1, 2)
    if (h, w) != (h_new, w_new):
        table_of_heads = F.interpolate(table_of_heads.float(), size=(h_new, w_new), mode='bicubic')
    return table_of_heads.reshape(heads, -1).t().contiguous().to(table.dtype)
