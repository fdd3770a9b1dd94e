"""Videos of any length, window by window."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from .broken import BrokenFileError
from .broken_policy import TIME_LIMIT
from .transforms import DecodeClips, FixedView, SampleWholeVideo
from .transforms.sample import frames_at, opened

FRAMES_AT_ONCE = 256
"""Frames of a video in memory at a time where it is read whole; a multiple of every tokenizer's stride."""


@dataclass(frozen=True)
class Window:
    """How a video is cut into clips.

    Args:
        num_frames: T.
        fps: frames per second; a frame is the one shown at its time.
        size: height and width in pixels: the short side is resized to it and the central square cut out.
        stride: seconds from the start of a window to that of the next; ``None``: the length of a window, so that they
            follow on each other.

    Raises:
        ValueError: if one of them is not positive.
    """
    num_frames: int
    fps: float
    size: int
    stride: float | None = None

    def __post_init__(self) -> None:
        if min(self.num_frames, self.fps, self.size, 1 if self.stride is None else self.stride) <= 0:
            raise ValueError(f'num_frames, fps, size and stride of a window must be positive, got {self}')

    @property
    def seconds(self) -> float:
        """Length of a window."""
        return self.num_frames / self.fps

    def starts(self, duration: float) -> np.ndarray:
        """Where the windows of a video start, in seconds.

        All of the video lies in some window: the last one ends with it, and so may share more with the one before than
        others do. A video that is no longer than a window has one.
        """
        room = max(duration - self.seconds, 0.0)
        stride = self.seconds if self.stride is None else self.stride
        return np.minimum(np.arange(int(np.ceil(room / stride - 1e-6)) + 1) * stride, room)


def read_windows(path: str | Path, window: Window, batch_size: int = 8) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Decode the windows of a video, some at a time, so that its length does not matter to the memory.

    Args:
        path: of the video. One that is shorter than a window begins again.
        window: how it is cut.
        batch_size: windows at a time.

    Returns:
        Their starts in seconds, ``(N,)``, and their frames, ``(N, 3, T, size, size)`` uint8.

    Raises:
        BrokenFileError: if the video cannot be read, or not in time.
    """
    results = dict(filename=str(path), time_limit=TIME_LIMIT)
    video = opened(results)
    starts = window.starts(video.duration)
    for some in np.split(starts, range(batch_size, len(starts), batch_size)):
        seconds = some[:, None] + np.arange(window.num_frames) / window.fps  # (N, T)
        seconds = np.where(seconds > video.times[-1] + 1e-6, seconds % video.duration, seconds)
        frames = _decoded(results, frames_at(video, seconds).ravel(), window.size)
        yield some, frames.unflatten(0, seconds.shape).transpose(1, 2).contiguous()


class SomeWindows(NamedTuple):
    """Some windows of a video, or the reason why there are no more."""
    video: int
    starts: np.ndarray
    frames: Tensor
    last: bool
    reason: str = ''


class WindowedVideos(IterableDataset):
    """The windows of several videos, for a loader: of W workers, each takes every W-th video.

    A video that cannot be read ends with a reason, perhaps after some of its windows.

    Args:
        paths: of the videos.
        window: how they are cut.
        batch_size: windows at a time.
    """

    def __init__(self, paths: Sequence[str], window: Window, batch_size: int) -> None:
        self.paths, self.window, self.batch_size = list(paths), window, batch_size

    def __iter__(self) -> Iterator[SomeWindows]:
        worker = get_worker_info()
        numbers = range(len(self.paths))
        for number in numbers if worker is None else numbers[worker.id::worker.num_workers]:
            before = None
            try:
                for starts, frames in read_windows(self.paths[number], self.window, self.batch_size):
                    if before is not None:
                        yield before
                    before = SomeWindows(number, starts, frames, last=False)
                yield before._replace(last=True)
            except BrokenFileError as error:
                yield SomeWindows(number, np.zeros(0), torch.zeros(0), True, error.reason or str(error))


def read_whole(path: str | Path, fps: float, size: int, multiple: int = 1) -> Iterator[Tensor]:
    """Decode a video from start to end, in parts.

    Args:
        path: of the video.
        fps: frames per second.
        size: height and width, as in :class:`Window`.
        multiple: frames are left out at the end, to a multiple of this.

    Returns:
        ``(3, T, size, size)`` uint8, with T up to :data:`FRAMES_AT_ONCE`.

    Raises:
        BrokenFileError: if the video cannot be read, or not in time.
    """
    results = SampleWholeVideo(fps=fps)(dict(filename=str(path), time_limit=TIME_LIMIT))
    indices = results['frame_inds'][:len(results['frame_inds']) // multiple * multiple]
    for some in np.split(indices, range(FRAMES_AT_ONCE, len(indices), FRAMES_AT_ONCE)):
        if len(some):
            yield _decoded(results, some, size).transpose(0, 1).contiguous()


def _decoded(results: dict, indices: Sequence[int], size: int) -> Tensor:
    """``(frames, 3, size, size)`` of an opened video, which stays usable."""
    shown = FixedView(size)(DecodeClips()(dict(results, frame_inds=indices)))['imgs']
    return torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2)
