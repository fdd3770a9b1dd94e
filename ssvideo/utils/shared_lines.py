"""A file of JSON lines that any number of processes write together."""
from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


class SharedLines:
    """Reads and appends JSON objects, one a line.

    A line that a killed process left half written is ended by the next writer, and passed over by readers.

    Args:
        path: the file; it and its folder are made when something is written.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._read_to = 0

    def new(self) -> list[dict]:
        """What has been written, by anyone, since the last call of ``new`` or ``locked``; all of it at the first."""
        try:
            with open(self.path, 'rb') as file:
                return self._new(file)
        except FileNotFoundError:
            return []

    @contextmanager
    def locked(self) -> Iterator[tuple[list[dict], BinaryIO]]:
        """Keep all others from writing; gives what ``new`` does, and what ``append`` needs."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, 'a+b') as file:  # O_APPEND
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0, os.SEEK_END)
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b'\n':  # a process was killed while it wrote
                    file.write(b'\n')
                    file.flush()
            yield self._new(file), file

    @staticmethod
    def append(file: BinaryIO, entry: dict) -> None:
        """Write a line, on the disk when this returns; ``file`` is of ``locked``."""
        file.write(json.dumps(entry).encode() + b'\n')
        file.flush()
        os.fsync(file.fileno())

    def _new(self, file: BinaryIO) -> list[dict]:
        file.seek(self._read_to)
        whole = file.read().rpartition(b'\n')[0]
        self._read_to += len(whole) + 1 if whole else 0
        entries = []
        for line in whole.splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # such a half line
            if isinstance(entry, dict):
                entries.append(entry)
        return entries
