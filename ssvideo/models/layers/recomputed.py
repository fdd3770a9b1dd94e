"""Which parts of a backbone are computed again in the backward pass."""
from __future__ import annotations

from collections.abc import Sequence


def recomputed_parts(what: str, asked: bool | Sequence[int], num: int) -> frozenset[int]:
    """Read the argument ``checkpoint_activations``.

    Args:
        what: names the parts in the message, such as ``'VideoSwin: stages'``.
        asked: True for all, False for none, or numbers of parts from 0.
        num: how many there are.

    Returns:
        The numbers of the parts that keep no activations.

    Raises:
        ValueError: for a number that no part has.
    """
    if isinstance(asked, bool):
        return frozenset(range(num) if asked else ())
    if wrong := [number for number in asked if number not in range(num)]:
        raise ValueError(f'{what} are numbered 0 to {num - 1}, got checkpoint_activations={list(asked)}: leave out {wrong}, or '
                         'set True for all')
    return frozenset(asked)
