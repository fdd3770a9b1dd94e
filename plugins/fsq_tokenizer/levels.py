"""The numbers that make an FSQ codebook."""
from __future__ import annotations

from collections.abc import Sequence

from vector_quantize_pytorch import FSQ


def build_quantizer(levels: Sequence[int]) -> FSQ:
    """The quantiser of some levels; it has no weights.

    Args:
        levels: values that each channel of a code may take. The number of codes is their product.

    Raises:
        ValueError: for no channels, or one of fewer than three values: the bound of two is not defined.
    """
    if isinstance(levels, str) or not levels or not all(isinstance(level, int) and level > 2 for level in levels):
        raise ValueError(f'FSQ: levels must be a list of integers of at least 3, such as [8, 5, 5, 5], got {levels!r}')
    return FSQ(list(levels))
