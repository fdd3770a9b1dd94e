from __future__ import annotations

import multiprocessing
import os
import random
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from ssvideo.datasets.broken import BrokenFileError, TimedOutError
from ssvideo.datasets.decoders import VideoReader
from ssvideo.datasets.time_limit import stop_if_abandoned, within
from ssvideo.datasets.transforms import DecodeClips, LoadImage, SampleClips

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import video_files as files  # noqa: E402


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith('read ')]


def wait_for(condition, seconds: float = 300) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(condition())


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    return files.write_video(tmp_path_factory.mktemp('videos') / 'a.mp4', options={'g': '6'})


@pytest.fixture
def fifo(tmp_path):
    """A file whose opening hangs in C until someone writes to it."""
    path = tmp_path / 'hangs.mp4'
    os.mkfifo(path)
    yield path
    if readers():
        os.close(os.open(path, os.O_WRONLY))
    assert wait_for(lambda: not readers())


def test_within__gives_what_the_function_gives():
    assert within(None, 'a', divmod, 7, 2) == (3, 1)
    assert within(5, 'a', divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        within(5, 'a', divmod, 7, 0)
    assert within(None, 'a', threading.current_thread) is threading.current_thread()
    assert wait_for(lambda: not readers())


def test_within__leaves_a_call_behind_that_ends_when_it_looks_up():
    ended = []

    def slow():
        try:
            while True:
                time.sleep(0.02)
                stop_if_abandoned()
        except TimedOutError as error:
            ended.append(error)
            raise

    with pytest.raises(TimedOutError, match=r'a\.mp4: reading it took longer than time_limit=0\.1 s') as caught:
        within(0.1, 'a.mp4', slow)
    assert caught.value.path == 'a.mp4'
    assert wait_for(lambda: ended and not readers())
    stop_if_abandoned()  # here nobody was given up


def test_within__an_interrupt_leaves_the_call_behind_too(monkeypatch):
    ended = threading.Event()

    def slow():
        try:
            while True:
                time.sleep(0.02)
                stop_if_abandoned()
        finally:
            ended.set()

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(threading.Thread, 'join', interrupted)
        within(60, 'a', slow)
    assert ended.wait(300)


def test_opening__a_c_call_that_hangs_is_left_behind(fifo, video):
    sample, decode = SampleClips(4, frame_interval=1), DecodeClips()
    for _ in range(2):  # one that hangs does not keep the next from being read
        with pytest.raises(TimedOutError, match='hangs.mp4'):
            sample({'filename': str(fifo), 'time_limit': 0.2})
    assert len(readers()) == 2
    assert len(decode(sample({'filename': str(video), 'time_limit': 60}))['imgs']) == 4
    with pytest.raises(TimedOutError, match='hangs.mp4'):
        LoadImage()({'filename': str(fifo), 'time_limit': 0.2})


def test_decoding__what_is_merely_slow_closes_its_file_and_ends(video, monkeypatch):
    closed, take = [], VideoReader._decode

    def slowly(self, packets, *rest):
        return take(self, (time.sleep(0.02) or packet for packet in packets), *rest)

    close = VideoReader.close
    monkeypatch.setattr(VideoReader, '_decode', slowly)
    monkeypatch.setattr(VideoReader, 'close', lambda self: (close(self), closed.append(threading.current_thread())))
    results = SampleClips(20, frame_interval=2)({'filename': str(video), 'time_limit': 600}) | {'time_limit': 0.1}
    reader = results['video']
    with pytest.raises(TimedOutError, match='a.mp4'):
        DecodeClips()(results)
    assert 'video' not in results
    assert wait_for(lambda: not readers())
    assert reader._container is None
    assert threading.current_thread() not in closed[1:]  # a decoder that is at work must not be closed from here


def test_decoding__a_limit_changes_neither_frames_nor_errors_nor_random_numbers(video, tmp_path):
    def read(**more):
        random.seed(1), np.random.seed(1), torch.manual_seed(1)
        results = DecodeClips()(SampleClips(8, frame_interval=2)({'filename': str(video), **more}))
        return results['imgs'], (random.random(), np.random.random(), torch.rand(1).item())

    (frames, drawn), (limited, drawn_limited) = read(), read(time_limit=60)
    assert np.array_equal(frames, limited) and drawn == drawn_limited
    for limit in (None, 60):
        with pytest.raises(BrokenFileError, match='none.mp4') as caught:
            SampleClips(1)({'filename': str(tmp_path / 'none.mp4'), 'time_limit': limit})
        assert type(caught.value) is BrokenFileError


def _try_to_open(path, queue):
    try:
        SampleClips(1)({'filename': path, 'time_limit': 0.2})
    except TimedOutError as error:
        queue.put(str(error))


def test_opening__a_process_ends_while_a_call_hangs(tmp_path):
    """As a loader's worker, forked from a process in which a call hangs as well."""
    os.mkfifo(tmp_path / 'hangs.mp4')
    path = str(tmp_path / 'hangs.mp4')
    with pytest.raises(TimedOutError):
        SampleClips(1)({'filename': path, 'time_limit': 0.2})
    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    process = context.Process(target=_try_to_open, args=(path, queue))
    process.start()
    try:
        assert 'hangs.mp4' in queue.get(timeout=300)
        process.join(20)
        assert process.exitcode == 0
    finally:
        os.close(os.open(path, os.O_WRONLY))
        process.kill()
    assert wait_for(lambda: not readers())
