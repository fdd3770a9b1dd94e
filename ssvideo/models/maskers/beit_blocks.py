"""Draw one two-dimensional mask out of rectangles, as BEiT does."""
from __future__ import annotations

import math
import random

import numpy as np

NUM_ATTEMPTS = 10  # BEiT: a rectangle that does not fit is drawn again this many times, then the mask is finished


def draw_beit_blocks(height: int, width: int, mask_ratio: float, min_block: int, aspect: float,
                     rng: random.Random) -> np.ndarray:
    """Hide rectangles until ``mask_ratio`` of the cells are hidden, or until no further rectangle is found.

    A rectangle's area is uniform between ``min_block`` and what is left to hide, its aspect ratio log-uniform, and it
    is taken if it hides something new but no more than what is left. On a 14 x 14 map at ratio 0.5 that hides 97.5 of
    98 cells in the mean and at least about 89.

    Two rules serve maps for which BEiT's numbers were not made: ``min_block`` is at most half of what is to be hidden
    (on a 4 x 4 map 16 would be more than everything), and a map one cell high or wide may be crossed by a rectangle.
    Never more than ``floor(mask_ratio * height * width)`` cells are hidden, so never all.

    Args:
        height: rows of the map.
        width: columns of the map.
        mask_ratio: share of cells to hide, in (0, 1).
        min_block: smallest area drawn for a rectangle, in cells.
        aspect: smallest aspect ratio (height over width); the largest is its inverse.
        rng: the only source of randomness.

    Returns:
        ``(height, width)`` bool, True = hidden.

    Source: BEiT, arXiv:2106.08254, Algorithm 1.
    """
    hidden = np.zeros((height, width), dtype=bool)
    remaining = target = int(mask_ratio * height * width)
    min_area = min(min_block, max(1, target // 2))
    while remaining > 0:
        block = _find_block(hidden, min_area, remaining, aspect, rng)
        if block is None:
            break
        remaining -= block.size - np.count_nonzero(block)
        block[...] = True
    return hidden


def _find_block(hidden: np.ndarray, min_area: int, remaining: int, aspect: float,
                rng: random.Random) -> np.ndarray | None:
    """A rectangular view of ``hidden`` that holds between 1 and ``remaining`` visible cells."""
    height, width = hidden.shape
    max_log_aspect = -math.log(aspect)
    for _ in range(NUM_ATTEMPTS):
        area = rng.uniform(min_area, remaining)
        ratio = math.exp(rng.uniform(-max_log_aspect, max_log_aspect))
        rows, columns = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if not (0 < rows < max(height, 2) and 0 < columns < max(width, 2)):
            continue
        top, left = rng.randint(0, height - rows), rng.randint(0, width - columns)
        block = hidden[top:top + rows, left:left + columns]
        if 0 < block.size - np.count_nonzero(block) <= remaining:
            return block
    return None
