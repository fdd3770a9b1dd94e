"""Infer a ``VideoSwin`` from the shapes of its weights."""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .swin_names import PATCH_KERNEL

Window = tuple[int, int, int]
PREPROCESSOR = dict(type='ssvideo.ClipPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
"""ImageNet's mean and deviation: how every published Swin, 2D or video, is given its pixels."""
TABLE = 'attn.relative_position_bias_table'


def swin_config(weights: Mapping[str, Tensor], window: Window) -> dict:
    """Arguments of the ``VideoSwin`` that weights belong to.

    Args:
        weights: with the names of ``VideoSwin``, without a prefix.
        window: of the blocks, see :func:`infer_window`; which rows alone do not tell.

    Returns:
        A config. Drop path, which weights do not tell, is left at its default.

    Raises:
        ValueError: if weights are missing that every Swin has.
    """
    try:
        kernel = weights[PATCH_KERNEL]
        depths = _depths(weights)
        return dict(
            type='ssvideo.VideoSwin',
            patch_size=list(kernel.shape[2:]),
            embed_dims=kernel.shape[0],
            depths=depths,
            num_heads=[weights[f'layers.{stage}.blocks.0.{TABLE}'].shape[1] for stage in range(len(depths))],
            window_size=list(window),
            mlp_ratio=len(weights['layers.0.blocks.0.mlp.fc1.weight']) / kernel.shape[0],
            image_stem='patch_embed_2d.proj.weight' in weights)
    except KeyError as error:
        raise ValueError(f'these are not the whole weights of a Swin transformer: {error} (our name) is missing. '
                         'Swin V2 is another architecture') from error


def infer_window(weights: Mapping[str, Tensor], given: Sequence[int] | None, notes: list[str]) -> Window:
    """Tell the window from the bias tables, whose rows are (2 Td - 1)(2 Th - 1)(2 Tw - 1).

    Args:
        weights: of a Video Swin, with any prefix. An index buffer among them, of Td x Th x Tw rows, is used as well.
        given: the window, from the user; ``None`` infers it: Th = Tw, and of several that fit the one with 7 x 7 as in
            every published model, else the widest.
        notes: receives a sentence that says what was done.

    Raises:
        ValueError: if the tables differ, or no window fits, or not the given one.
    """
    tables = {name: len(table) for name, table in weights.items() if name.endswith(TABLE)}
    if not tables:
        raise ValueError(f'these are not weights of a Swin transformer: no {TABLE} is among them. Swin V2 is another '
                         'architecture')
    if len(set(tables.values())) > 1:
        raise ValueError(f'the bias tables have {sorted(set(tables.values()))} rows: a VideoSwin has one window for '
                         'all blocks. Load the weights into a model of the window that you want, which fits each table')
    [rows] = set(tables.values())
    if given is not None:
        window = tuple(given)
        if math.prod(2 * size - 1 for size in window) != rows:
            raise ValueError(f'--window {window} does not fit the bias tables, which have {rows} rows; fitting: '
                             f'{_fitting(rows) or "none with a square base"}')
        notes.append(f'window_size={window}: from --window')
        return window
    cells = next((len(value) for name, value in weights.items() if name.endswith('relative_position_index')), None)
    fitting = [window for window in _fitting(rows) if cells in (None, math.prod(window))]
    if not fitting:
        raise ValueError(f'bias tables of {rows} rows fit no window with a square base: give --window T H W')
    window, *others = fitting
    doubt = f'; ASSUMED, since {others} would fit, too: if it was another, give --window' if others else ''
    notes.append(f'window_size={window}: from the {rows} rows of the bias tables, taking its base to be square{doubt}')
    return window


def add_mask_embedding(weights: dict[str, Tensor], notes: list[str]) -> None:
    """Put zeros in the place of a missing mask embedding (``backbone.*`` names): a model not trained by masking."""
    if 'backbone.mask_embedding' not in weights:
        weights['backbone.mask_embedding'] = torch.zeros(len(weights[f'backbone.{PATCH_KERNEL}']))
        notes.append('mask_embedding: zeros, the source has none; only masked pre-training reads it')


def split_prefix(weights: Mapping[str, Tensor], prefix: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights whose names begin with a prefix, without it, and the others."""
    inside = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    return inside, {name: value for name, value in weights.items() if not name.startswith(prefix)}


def _depths(weights: Mapping[str, Tensor]) -> list[int]:
    blocks: dict[int, set[str]] = {}
    for name in weights:
        if name.startswith('layers.') and name.split('.')[2] == 'blocks':
            blocks.setdefault(int(name.split('.')[1]), set()).add(name.split('.')[3])
    return [len(blocks[stage]) for stage in sorted(blocks)]


def _fitting(rows: int) -> list[Window]:
    """Windows with a square base whose table has this many rows: 7 x 7 first, then the widest."""
    windows = []
    for side in range(2, (math.isqrt(rows) + 1) // 2 + 1):
        distances, rest = divmod(rows, (2 * side - 1)**2)  # in time
        if rest == 0 and distances % 2:
            windows.append(((distances + 1) // 2, side, side))
    return sorted(windows, key=lambda window: (window[1] != 7, -window[1]))
