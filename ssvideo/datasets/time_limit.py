"""A time limit for reading a file, which holds where a C library hangs."""
from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from .broken import TimedOutError

T = TypeVar('T')
_running = threading.local()


class _Call:
    """A call in a thread of its own, and whether anyone still waits for it."""

    def __init__(self, path: str, seconds: float, function: Callable, args: tuple) -> None:
        self.path, self.seconds = path, seconds
        self.function, self.args = function, args
        self.answer = self.error = None
        self.done = self.abandoned = False

    def run(self) -> None:
        _running.call = self
        try:
            self.answer = self.function(*self.args)
        except BaseException as error:
            self.error = error
        self.function = self.args = None
        self.done = True

    def timed_out(self) -> TimedOutError:
        return TimedOutError(self.path, f'reading it took longer than time_limit={self.seconds:g} s')


def within(seconds: float | None, path: str, function: Callable[..., T], *args) -> T:
    """Call a function that reads a file, and wait no longer than some seconds.

    With a limit the function runs in a thread, which is left behind when the time is over: a C call cannot be interrupted,
    and a thread that hangs in one neither blocks its process nor keeps it from ending, as long as the C call does not
    hold Python's global lock (FFmpeg's, called by PyAV, decord and torchcodec, do not). What the function works on belongs
    to that thread from then on: the caller must not touch it, and the function calls :func:`stop_if_abandoned` now
    and then, so as to clean up and end once the C call returns. It must draw no random numbers, which would come at
    any time.

    Args:
        seconds: the limit; None: none, and no thread.
        path: of the file, for the error.
        function: what is called.
        args: its arguments.

    Returns:
        What the function returns.

    Raises:
        TimedOutError: if it takes longer.
        BaseException: what the function raises.
    """
    if seconds is None:
        return function(*args)
    call = _Call(path, seconds, function, args)
    thread = threading.Thread(target=call.run, name=f'read {path}', daemon=True)
    thread.start()
    try:
        thread.join(seconds)
    finally:  # an interrupt, too, leaves it behind
        call.abandoned = not call.done
    if call.abandoned:
        raise call.timed_out()
    if call.error is not None:
        raise call.error
    return call.answer


def stop_if_abandoned() -> None:
    """End a call that :func:`within` has given up; without effect anywhere else.

    Raises:
        TimedOutError: if nobody waits for the result any more.
    """
    call = getattr(_running, 'call', None)
    if call is not None and call.abandoned:
        raise call.timed_out()
