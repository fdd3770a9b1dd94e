from __future__ import annotations

import ctypes
import functools
import os
import time

import pytest

from ssvideo.utils.watched_workers import Lost, watched_map


def act(task: tuple[int, str], factor: int):
    """What a decoder may do to its process."""
    number, act = task
    if act == 'crash':
        ctypes.string_at(0)
    if act == 'leave':
        os._exit(3)
    if act == 'hang':
        time.sleep(3600)
    if act == 'fail':
        raise KeyError('frames')
    return number * factor


def test_watched_map__loses_only_the_task_that_hangs_or_crashes():
    acts = {2: 'crash', 5: 'hang', 6: 'leave', 7: 'fail', 11: 'crash'}
    tasks = [(number, acts.get(number, 'work')) for number in range(12)]
    found = dict(watched_map(functools.partial(act, factor=10), iter(tasks), num_workers=2, time_limit=6.0))
    assert set(found) == set(tasks)
    assert [found[task] for task in tasks if task[1] == 'work'] == [10 * number for number, what in tasks if what == 'work']
    assert found[2, 'crash'] == found[11, 'crash'] == Lost('it crashed the process that read it (SIGSEGV)')
    assert found[5, 'hang'] == Lost('it took longer than 6 s')
    assert found[6, 'leave'] == Lost('it crashed the process that read it (exit status 3)')
    assert found[7, 'fail'] == Lost("KeyError: 'frames'")


def test_watched_map__takes_tasks_as_it_needs_them_and_ends_its_processes():
    taken = []

    def tasks():
        for number in range(1_000_000):
            taken.append(number)
            yield number, 'work'

    results = watched_map(functools.partial(act, factor=1), tasks(), num_workers=2)
    for _ in range(5):
        next(results)
    assert len(taken) <= 8
    results.close()
    with pytest.raises(ValueError, match='num_workers must be at least 1, got 0'):
        next(watched_map(print, [], 0))
