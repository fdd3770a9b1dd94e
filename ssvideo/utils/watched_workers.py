"""A function applied to many tasks in processes that may hang or crash without harm to the rest."""
from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context
from typing import Any

_NO_TASK = object()
_READY = '__ready__'


@dataclass(frozen=True)
class Lost:
    """Instead of a result: why there is none."""
    reason: str


def watched_map(function: Callable[[Any], Any], tasks: Iterable, num_workers: int, time_limit: float | None = None,
                preload: Sequence[str] = ()) -> Iterator[tuple[Any, Any | Lost]]:
    """Apply a function to tasks in processes of their own, each of which has one task at a time.

    A process that crashes, that the system kills, or that takes too long costs the task that it has, and no other: it is
    ended and replaced. Tasks are taken from the iterable as they are needed.

    Args:
        function: of a module, as are arguments bound to it: processes import it.
        tasks: what it is called with, one each.
        num_workers: processes.
        time_limit: seconds for a task; None: any.
        preload: modules that are imported once, before the processes are made from one that has them.

    Returns:
        Each task, with the result or a ``Lost``, in the order in which they are done.

    Raises:
        ValueError: if there is no worker.
        RuntimeError: if a process ends before its first task.
    """
    if num_workers < 1:
        raise ValueError(f'num_workers must be at least 1, got {num_workers}')
    context = get_context('forkserver')  # a fork of this process would copy its threads' locks
    context.set_forkserver_preload(list(preload))
    tasks, workers = iter(tasks), []
    try:
        workers += [_Worker(context, function) for _ in range(num_workers)]
        while workers:
            connection.wait([worker.pipe for worker in workers], _time_left(workers))
            for number, worker in reversed(list(enumerate(workers))):
                had, result = worker.task, worker.result(time_limit)
                if result is _NO_TASK:
                    continue
                if worker.ended:
                    workers[number] = _Worker(context, function)
                elif not worker.begin(next(tasks, _NO_TASK), time_limit):
                    workers.pop(number)
                if had is not _NO_TASK:
                    yield had, result
    finally:
        for worker in workers:
            worker.kill()


def _time_left(workers: Sequence[_Worker]) -> float | None:
    deadlines = [worker.deadline for worker in workers if worker.deadline is not None]
    return max(min(deadlines) - time.monotonic(), 0) if deadlines else None


class _Worker:
    """A process, its task, and until when it may take. It is ready for its first task when it says so."""

    def __init__(self, context, function: Callable) -> None:
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, function), daemon=True)
        self.process.start()
        theirs.close()  # so that its end is noticed
        self.task, self.deadline, self.ended = _NO_TASK, None, False

    def begin(self, task, time_limit: float | None) -> bool:
        """Hand over a task; without one, let the process end and say so."""
        self.task = task
        if task is _NO_TASK:
            self.pipe.close()
            self.process.join()
            return False
        self.deadline = None if time_limit is None else time.monotonic() + time_limit
        with suppress(BrokenPipeError):  # it has died just now, which ``result`` finds
            self.pipe.send(task)
        return True

    def result(self, time_limit: float | None):
        """What the process has to say, ``Lost`` if it never will, ``_NO_TASK`` if it is at work."""
        try:
            if self.pipe.poll():
                return self.pipe.recv()
        except (EOFError, OSError):
            return self._died()
        if self.deadline is not None and time.monotonic() >= self.deadline:
            self.kill()
            return Lost(f'it took longer than {time_limit:g} s')
        return _NO_TASK

    def _died(self) -> Lost:
        self.kill()
        code = self.process.exitcode
        how = signal.Signals(-code).name if code and code < 0 else f'exit status {code}'
        if self.task is _NO_TASK:
            raise RuntimeError(f'a worker process ended before its first task ({how}); what it wrote to stderr tells why')
        return Lost(f'it crashed the process that read it ({how})')

    def kill(self) -> None:
        """End the process, whatever it does."""
        self.ended = True
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _serve(pipe: connection.Connection, function: Callable) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's business
    pipe.send(_READY)
    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            result = function(task)
        except Exception as error:
            result = Lost(f'{type(error).__name__}: {error}')
        pipe.send(result)
