"""Videos as a user names them on a command line, and a clip of each."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .broken import BrokenFileError
from .broken_policy import TIME_LIMIT
from .draw_sampler import seeded
from .entries import read_folder, read_list
from .transforms import DecodeClips, FixedView, SampleClips
from .video_list import VideoList, build_transform


def find_videos(sources: Sequence[str | Path]) -> list[str]:
    """Paths of videos, each once.

    Args:
        sources: video files; folders, searched recursively; lists with one ``path`` or ``path label`` a line (files whose
            suffix is no video's).

    Raises:
        ValueError: if a source does not exist or holds no video.
    """
    found = []
    for source in map(Path, sources):
        if source.is_dir():
            entries, _ = read_folder(source, VideoList.suffixes, labels=False)
            paths = [str(source / entries.path(i)) for i in range(len(entries))]
        elif not source.is_file():
            raise ValueError(f'{source} is neither a file nor a folder')
        elif source.suffix.lower() in VideoList.suffixes:
            paths = [str(source)]
        else:
            entries = read_list(source)
            paths = [entries.path(i) for i in range(len(entries))]
        if not paths:
            raise ValueError(f'{source} holds no video')
        found += paths
    return list(dict.fromkeys(found))


class GivenClips:
    """One clip of each of some videos, as ``(number, path, frames)`` with frames ``(3, T, H, W)`` uint8.

    Args:
        paths: of the videos.
        read: makes the clip of a path, see :func:`middle_clip` and :func:`drawn_clip`.

    Attributes:
        broken: path to reason, of the videos that could not be read so far.
    """

    def __init__(self, paths: Sequence[str], read: Callable[[str], Tensor]) -> None:
        self.paths, self.read = paths, read
        self.broken: dict[str, str] = {}

    def __iter__(self) -> Iterator[tuple[int, str, Tensor]]:
        for number, path in enumerate(self.paths):
            try:
                frames = self.read(path)
            except BrokenFileError as error:
                self.broken[path] = error.reason or str(error)
                continue
            yield number, path, frames

    def why_none(self, error: str) -> str:
        """An error text, and the first reasons why videos could not be read."""
        reasons = '; '.join(f'{path}: {reason}' for path, reason in list(self.broken.items())[:3])
        return f'{error}. Could not be read: {reasons}' if reasons else error


def middle_clip(path: str, num_frames: int, fps: float, size: int) -> Tensor:
    """The clip in the middle of a video, at a given rate, its short side resized and the central square cut out.

    That is the view of VIMPAC's pre-training. A video that is shorter than the clip begins again.

    Args:
        path: of the video.
        num_frames: T.
        fps: frames per second.
        size: height and width.

    Returns:
        ``(3, T, size, size)`` uint8.

    Raises:
        BrokenFileError: if the video cannot be read, or not in time.
        ValueError: if a number is out of range.
    """
    results = dict(filename=path, time_limit=TIME_LIMIT)
    for transform in (SampleClips(num_frames, fps=fps, test_mode=True), DecodeClips(), FixedView(size)):
        results = transform(results)
    return torch.from_numpy(np.stack(results['imgs'])).permute(3, 0, 1, 2).contiguous()


def drawn_clip(path: str, pipeline: Sequence[dict], seed: int) -> Tensor:
    """A clip as a data set's pipeline draws it.

    Args:
        path: of the video.
        pipeline: configs of transforms, the last of which packs ``(V, 3, T, H, W)``; the first of the V clips is taken.
        seed: of the randomness, on which nothing else depends.

    Returns:
        ``(3, T, H, W)`` uint8.

    Raises:
        BrokenFileError: if the video cannot be read, or not in time.
    """
    results = dict(filename=path, sample_idx=0, modality='RGB', start_index=0, time_limit=TIME_LIMIT)
    with seeded(seed, 'drawn_clip'):
        for config in pipeline:
            results = build_transform(config)(results)
    return results['inputs'][0]
