"""What is done about files that cannot be read, and when there are too many of them."""
from __future__ import annotations

from collections import deque
from math import sqrt
from typing import Literal

OnBroken = Literal['replace', 'error', 'missing']

TIME_LIMIT = 60.0
"""Seconds for opening a file or decoding its clips; seconds are ordinary for a long file without an index."""


def check_on_broken(on_broken: OnBroken | None, test_mode: bool) -> OnBroken:
    """The policy, where None means 'error' in testing and 'replace' in training.

    Raises:
        ValueError: if there is no such policy, or it does not go with ``test_mode``.
    """
    allowed = ('error', 'missing') if test_mode else ('replace', 'error')
    if on_broken is None:
        return 'error' if test_mode else 'replace'
    if on_broken not in allowed:
        raise ValueError(f'with test_mode={test_mode} on_broken must be one of {allowed}, got {on_broken!r}: in testing nothing '
                         'is replaced, and only there a prediction can be missing')
    return on_broken


class FailureShare:
    """How many of the files that a process tried lately could not be read.

    Judged over the last 1,000 files, so that a disk that fails after a day is noticed as soon as one that was never there,
    and with three standard deviations of what chance would do, so that a long run does not stop by chance.

    Args:
        limit: the share that may fail.

    Raises:
        ValueError: if the limit is not in [0, 1].
    """

    WINDOW = 1000
    FEWEST = 64  # files before a share means something

    def __init__(self, limit: float):
        if not 0 <= limit <= 1:
            raise ValueError(f'max_broken_share must be in [0, 1], got {limit}')
        self.limit = limit
        self.recent: deque[bool] = deque(maxlen=self.WINDOW)
        self.num_failed = 0

    def add(self, failed: bool) -> None:
        """Count a file."""
        if len(self.recent) == self.WINDOW:
            self.num_failed -= self.recent[0]
        self.recent.append(failed)
        self.num_failed += failed

    def too_many(self) -> bool:
        """Whether more fail than may."""
        tried = len(self.recent)
        by_chance = 3 * sqrt(tried * self.limit * (1 - self.limit))
        return tried >= self.FEWEST and self.num_failed > tried * self.limit + by_chance

    def __str__(self) -> str:
        return (f'{self.num_failed} of the last {len(self.recent)} files drawn cannot be read, more than '
                f'max_broken_share={self.limit}')
