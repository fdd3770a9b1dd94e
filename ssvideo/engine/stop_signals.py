"""SIGTERM and SIGINT as a request: save at the next optimiser step, then end."""
from __future__ import annotations

import os
import signal
import threading
import time

SIGNALS = (signal.SIGTERM, signal.SIGINT)
SAME = 5.0
"""Seconds in which another signal is taken for the same one: a terminal and torchrun both hand a Ctrl-C on."""


class StopSignals:
    """Within this context the first signal is noted in ``received``; a second, :data:`SAME` seconds later or more, ends at once.

    Forked processes, such as the workers of a loader, take no notice of either signal, though a scheduler sends them to
    all processes of a job: the training needs them up to the step at which it saves. Only their parent can end them.

    Attributes:
        received: number of the signal, or None.
    """
    received: int | None = None

    def __enter__(self) -> StopSignals:
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        _children.shielded = True
        return self

    def __exit__(self, *error) -> None:
        _children.shielded = False
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame) -> None:
        now = time.monotonic()
        if self.received is None:
            self.received, self._since = number, now
            os.write(2, f'{signal.Signals(number).name}: the run saves at its next optimiser step and ends; once more, '
                        f'{SAME:g} s from now or later, ends it at once\n'.encode())
        elif now - self._since >= SAME:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


class _Children:
    shielded = False

    def after_fork(self) -> None:
        if self.shielded:
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            threading.Thread(target=_obey_parent, daemon=True).start()


def _obey_parent() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are the main thread's
    while signal.sigwaitinfo(SIGNALS).si_pid != os.getppid():
        pass
    os._exit(0)


_children = _Children()
os.register_at_fork(after_in_child=_children.after_fork)
