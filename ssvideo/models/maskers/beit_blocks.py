"""Draw one two-dimensional mask out of rectangles, as BEiT does."""
from __future__ import annotations

import math
import random
from functools import cache

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
    hidden = 0  # the map as one number, a bit for each cell: overlaps are counted in a tenth of a microsecond
    remaining = target = int(mask_ratio * height * width)
    min_area = min(min_block, max(1, target // 2))
    while remaining > 0:
        block = _find_block(hidden, height, width, min_area, remaining, aspect, rng)
        if block == 0:
            break
        remaining -= (block & ~hidden).bit_count()
        hidden |= block
    packed = np.frombuffer(hidden.to_bytes((height * width + 7) // 8, 'little'), dtype=np.uint8)
    return np.unpackbits(packed, count=height * width, bitorder='little').view(bool).reshape(height, width)


def _find_block(hidden: int, height: int, width: int, min_area: int, remaining: int, aspect: float,
                rng: random.Random) -> int:
    """The bits of a rectangle that hides between 1 and ``remaining`` visible cells, 0 if none is found."""
    max_log_aspect = -math.log(aspect)
    for _ in range(NUM_ATTEMPTS):
        area = rng.uniform(min_area, remaining)
        ratio = math.exp(rng.uniform(-max_log_aspect, max_log_aspect))
        rows, columns = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if not (0 < rows < max(height, 2) and 0 < columns < max(width, 2)):
            continue
        top, left = int(rng.random() * (height - rows + 1)), int(rng.random() * (width - columns + 1))
        block = _rectangle(rows, columns, width) << (top * width + left)
        if 0 < (block & ~hidden).bit_count() <= remaining:
            return block
    return 0


@cache
def _rectangle(rows: int, columns: int, width: int) -> int:
    """The bits of a rectangle in the first corner of a map with rows of ``width`` bits."""
    return sum(((1 << columns) - 1) << (row * width) for row in range(rows))
