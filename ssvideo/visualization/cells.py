"""Colours for the cells of a grid: token ids, weights, feature vectors."""
from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib import colormaps
from torch import Tensor

from ..structures import PAD
from .frames import spread_cells

GOLDEN = 0.61803398875  # steps of it round the circle of hues keep any number of ids apart
HEAT = 'inferno'


def colour_ids(tokens: np.ndarray, vocab_size: int) -> np.ndarray:
    """Give each id a colour of its own, the same in every picture; PAD is black.

    Args:
        tokens: ``(t, h, w)`` integers.
        vocab_size: number of ids.

    Returns:
        ``(t, h, w, 3)`` uint8.

    Raises:
        ValueError: if there is another id.
    """
    if tokens.min() < PAD or tokens.max() >= vocab_size:
        raise ValueError(f'tokens: got ids from {tokens.min()} to {tokens.max()}, expected {PAD} (PAD) to {vocab_size - 1}')
    palette = [colorsys.hls_to_rgb(i * GOLDEN % 1, (0.35, 0.5, 0.65, 0.8)[i % 4], (0.9, 0.5)[i // 4 % 2])
               for i in range(vocab_size)]
    palette = np.concatenate([(np.array(palette) * 255).round().astype(np.uint8), np.zeros((1, 3), np.uint8)])  # [-1]: PAD
    return palette[tokens]


def heat(frames: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Lay weights over a clip: dark is 0, bright the largest weight of the clip.

    Args:
        frames: ``(T, H, W, 3)`` uint8 RGB, shown in grey beneath.
        weights: ``(t, h, w)``, not negative.

    Returns:
        ``(T, H, W, 3)`` uint8.
    """
    shares = spread_cells(weights / max(weights.max(), np.finfo(np.float32).tiny), frames.shape[:3])
    grey = frames.mean(-1, keepdims=True) / 255
    colours = colormaps[HEAT](shares)[..., :3]
    return ((0.25 * grey + 0.75 * colours * (0.5 + 0.5 * grey)) * 255).round().astype(np.uint8)


def pca_colours(maps: Sequence[Tensor]) -> tuple[list[np.ndarray], list[float]]:
    """Colour feature vectors by their three principal components, fitted to all maps together.

    Cells of like colours have like features, within a clip and from clip to clip. Each component becomes red, green or
    blue, its range from the 1st to the 99th percentile.

    Args:
        maps: ``(t, h, w, C)`` each, of one C.

    Returns:
        ``(t, h, w, 3)`` uint8 of each map, and the share of the variance that each of the three components has.

    Raises:
        ValueError: if there are fewer than 3 channels, or no two cells differ.
    """
    cells = torch.cat([part.detach().reshape(-1, part.shape[-1]) for part in maps]).double().cpu()
    if cells.shape[1] < 3:
        raise ValueError(f'maps: got {cells.shape[1]} channels, expected 3 or more')
    cells = cells - cells.mean(0)
    variances, axes = torch.linalg.eigh(cells.T @ cells)  # rising
    if variances[-1] <= 0:
        raise ValueError('all cells have the same features: there is nothing to colour')
    axes = axes[:, -3:].flip(1)
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()  # which end is bright must not be chance
    found = (cells @ axes).numpy()  # (cells, 3)
    low, high = np.percentile(found, [1, 99], axis=0)
    colours = ((found - low) / np.maximum(high - low, 1e-12)).clip(0, 1)
    parts = np.split((colours * 255).round().astype(np.uint8), np.cumsum([part[..., 0].numel() for part in maps])[:-1])
    shares = (variances.flip(0)[:3] / variances.clamp_min(0).sum()).tolist()
    return [part.reshape(*whole.shape[:-1], 3) for part, whole in zip(parts, maps)], shares
