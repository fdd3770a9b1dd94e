"""Whole videos as frames in one or more fixed views, part by part, for tokenizing."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from .broken import BrokenFileError
from .transforms import DecodeClips, SampleWholeVideo
from .transforms.fixed_view import FixedView, describe_view
from .video_list import VideoList

FRAMES_PER_PART = 256
"""What is in memory of a video at a time, so that an hour is no more than a minute; a multiple of every tokenizer's chunk
and temporal stride, so that parts do not show in the ids."""


class VideoPart(NamedTuple):
    """Some consecutive frames of a video, or the reason why there are none."""
    index: int
    frames: dict[str, Tensor]
    """By name of the view, ``(1, 3, T, H, W)`` uint8."""
    last: bool
    reason: str = ''


class WholeVideos(IterableDataset):
    """The frames of some videos of a list, each decoded once, whatever the number of views.

    The list's pipeline is ``SampleWholeVideo``, ``DecodeClips``, then what makes and packs the view; where ``views`` are
    given, each stands between decoding and packing. Of several workers each takes every so-many-th video. A video that
    fails gives one part with the reason, perhaps after parts with frames.

    Args:
        videos: with ``test_mode=True``.
        views: none for the one view that the pipeline makes, whose name is ''.
        frames_multiple: frames of a video are left out at its end, to a multiple of this.

    Raises:
        ValueError: if the list or its pipeline is not as said, or random.
    """

    def __init__(self, videos: VideoList, views: Sequence[FixedView] = (), frames_multiple: int = 1) -> None:
        if not getattr(videos, 'test_mode', False):
            raise ValueError('dataset needs test_mode=True: in training a video that cannot be read is replaced by another')
        kinds = [type(transform) for transform in videos.transforms]
        if kinds[:1] != [SampleWholeVideo] or DecodeClips not in kinds:
            raise ValueError("dataset.pipeline must begin with dict(type='ssvideo.SampleWholeVideo', fps=...) and then "
                             "dict(type='ssvideo.DecodeClips')")
        at = kinds.index(DecodeClips)
        self.videos, self.frames_multiple = videos, frames_multiple
        self.sampling: SampleWholeVideo = videos.transforms[0]
        self._before, self._decode, rest = videos.transforms[:at], videos.transforms[at], videos.transforms[at + 1:]
        self.described = {view.name: view.describe() for view in views} or {'': describe_view(rest)}
        if views and describe_view(rest) != describe_view([]):
            raise ValueError('views bring their own size, crop and flip: leave those out of dataset.pipeline')
        self._pipelines = {view.name: [view, *rest] for view in views} or {'': rest}
        self.sizes: dict[str, tuple[int, int]] = {}
        self.todo: Sequence[int] = range(len(videos))

    def __iter__(self) -> Iterator[VideoPart]:
        worker = get_worker_info()
        for index in self.todo if worker is None else self.todo[worker.id::worker.num_workers]:
            try:
                yield from self.parts(index)
            except BrokenFileError as error:
                yield VideoPart(index, {}, True, error.reason or str(error))
            except Exception as error:  # one video of a million must not end the others' extraction
                yield VideoPart(index, {}, True, f'{type(error).__name__}: {error}')

    def num_frames(self, index: int) -> int:
        """Frames that a video will give; it is opened, not decoded.

        Raises:
            BrokenFileError: if it cannot be opened.
        """
        results = self._sampled(index)
        results['video'].close()
        return len(results['frame_inds'])

    def parts(self, index: int) -> Iterator[VideoPart]:
        """The frames of one video.

        Raises:
            BrokenFileError: if it cannot be read, is too short, or comes out in another size than ``sizes`` says.
            ValueError: if the pipeline does not pack as it must.
        """
        sampled = self._sampled(index)
        wanted = sampled['frame_inds']
        if not len(wanted):
            raise BrokenFileError(sampled['filename'], f'it has fewer than {self.frames_multiple} frames')
        for start in range(0, len(wanted), FRAMES_PER_PART):
            some = wanted[start:start + FRAMES_PER_PART]
            results = self._decode(dict(sampled, frame_inds=some, clip_len=len(some)))
            frames = {name: self._packed(dict(results), name) for name in self._pipelines}
            yield VideoPart(index, frames, start + FRAMES_PER_PART >= len(wanted))

    def _sampled(self, index: int) -> dict:
        results = self.videos.describe(index)
        for transform in self._before:
            results = transform(results)
        wanted = np.asarray(results['frame_inds'])
        return dict(results, frame_inds=wanted[:len(wanted) // self.frames_multiple * self.frames_multiple])

    def _packed(self, results: dict, view: str) -> Tensor:
        path = results['filename']
        for transform in self._pipelines[view]:
            results = transform(results)
        frames = results['inputs'] if isinstance(results, dict) else None
        if not isinstance(frames, Tensor) or frames.ndim != 5 or frames.shape[:2] != (1, 3) or str(frames.dtype) != 'torch.uint8':
            got = f'{tuple(frames.shape)} {frames.dtype}' if isinstance(frames, Tensor) else type(frames).__name__
            raise ValueError(f'the pipeline gives {got}, expected (1, 3, T, H, W) uint8: end it with '
                             "FormatShape(input_format='NCTHW') and PackActionInputs")
        size = tuple(frames.shape[-2:])
        if self.sizes and size != self.sizes[view]:
            raise BrokenFileError(path, f'its frames come out as {size}, others as {self.sizes[view]}: crop to one size')
        return frames
