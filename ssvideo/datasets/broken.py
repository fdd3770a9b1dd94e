"""Files that do not decode: the error that says so, and the list a run keeps of them."""
from __future__ import annotations

import fcntl
import json
from pathlib import Path


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
    """A JSON-lines file that names every broken file once, written by any number of processes at a time.

    Args:
        path: the file; it and its folder are made at the first entry.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.known: set[str] = set()
        self._read_to = 0

    def add(self, path: str, reason: str) -> bool:
        """Append one line ``{"path": ..., "reason": ...}`` unless some process has named the file already.

        Returns:
            Whether the file was new to this process.
        """
        if path in self.known:
            return False
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, 'a+b') as file:  # O_APPEND
            fcntl.flock(file, fcntl.LOCK_EX)
            self._read_new_lines(file)
            if path not in self.known:
                file.write(json.dumps({'path': path, 'reason': reason}).encode() + b'\n')
                file.flush()
        self.known.add(path)
        return True

    def _read_new_lines(self, file) -> None:
        file.seek(self._read_to)
        text = file.read()
        if text and not text.endswith(b'\n'):  # a process was killed while it wrote: end its line
            text += b'\n'
            file.write(b'\n')
        self._read_to += len(text)
        for line in text.splitlines():
            try:
                self.known.add(json.loads(line)['path'])
            except (ValueError, KeyError, TypeError):
                continue  # such a half line
