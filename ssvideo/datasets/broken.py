"""Files that cannot be read: the errors that say so, and the lists that a run keeps of them."""
from __future__ import annotations

from pathlib import Path

from ..utils.shared_lines import SharedLines


class BrokenFileError(RuntimeError):
    """A video or image cannot be read: it is missing, damaged, or holds nothing to see.

    Args:
        path: the file. (Alone it is taken as the whole message, which is how a loader's worker hands an error on.)
        reason: what went wrong, in words.
    """

    def __init__(self, path: str, reason: str = ''):
        super().__init__(f'{path}: {reason}' if reason else path)
        self.path = path
        self.reason = reason


class TimedOutError(BrokenFileError):
    """Reading a file took longer than it may: another attempt might not. Arguments as for ``BrokenFileError``."""


class BrokenLog:
    """A list that names every broken file once, with the reason; processes write to it together.

    Args:
        path: a file of JSON lines ``{"path": ..., "reason": ...}``; it and its folder are made at the first entry.
    """

    def __init__(self, path: str | Path):
        self.lines = SharedLines(path)
        self.known: set[str] = set()

    def add(self, path: str, reason: str) -> bool:
        """List a file unless some process has listed it already.

        Returns:
            Whether the file was new to this process.
        """
        if path in self.known:
            return False
        with self.lines.locked() as (news, file):
            self._learn(news)
            if path not in self.known:
                self.lines.append(file, dict(path=path, reason=reason))
        self.known.add(path)
        return True

    def count(self) -> int:
        """Files listed so far by all processes; reads only what is new."""
        self._learn(self.lines.new())
        return len(self.known)

    def _learn(self, entries: list[dict]) -> None:
        self.known.update(entry['path'] for entry in entries if isinstance(entry.get('path'), str))


class TimedOutDraws:
    """The attempts of a run's draws that a time-out has ended.

    Whether a file is read in time is no function of the seed. So that a resumed run draws what the run before it drew, it
    is told: what timed out then counts as timed out again.

    Args:
        path: a file of JSON lines ``{"stream", "draw", "attempt", "path", "seconds"}``, made at the first entry; a line is
            on the disk before the file that takes the place is read.
        stream: only its draws are of interest.
    """

    def __init__(self, path: str | Path, stream: str):
        self.lines, self.stream = SharedLines(path), stream
        self.known = {(entry.get('draw'), entry.get('attempt')) for entry in self.lines.new() if entry.get('stream') == stream}

    def __contains__(self, attempt: tuple[int, int]) -> bool:
        """Whether ``(draw, attempt)`` timed out before this object was made."""
        return attempt in self.known

    def add(self, draw: int, attempt: int, path: str, seconds: float) -> None:
        """Record a time-out."""
        entry = dict(stream=self.stream, draw=draw, attempt=attempt, path=path, seconds=round(seconds, 3))
        with self.lines.locked() as (_, file):
            self.lines.append(file, entry)
