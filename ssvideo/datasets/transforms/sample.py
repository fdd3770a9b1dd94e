"""Which frames of a video make its clips: by a frame interval, by a rate in seconds, or one from each segment."""
from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform

from ...registry import TRANSFORMS
from ..decoders import VideoReader
from ..time_limit import within


def opened(results: dict) -> VideoReader:
    """The reader of an entry's file, opened at first use and kept in ``results['video']``.

    Args:
        results: with ``filename``; perhaps ``backend_args`` of one of mmengine's file backends, and ``time_limit``, seconds
            that opening may take.

    Raises:
        BrokenFileError: if the file cannot be read; ``TimedOutError`` if that takes too long.
    """
    if 'video' not in results:
        path = results['filename']
        results['video'] = within(results.get('time_limit'), path, VideoReader, path, results.get('backend_args'))
    return results['video']


def frames_at(video: VideoReader, seconds: np.ndarray) -> np.ndarray:
    """Numbers of the frames that are shown at given times, by time stamp (variable frame rates come out right)."""
    # half a tick: Matroska's stamps are whole ms, so that frame 1 at 16 frames/s is stamped 0.063; 1 us: sums of floats
    shown = np.searchsorted(video.times, seconds + video.tick / 2 + 1e-6, 'right') - 1
    return np.clip(shown, 0, video.num_frames - 1)


def _one_of(frame_interval, fps) -> None:
    if (frame_interval is None) == (fps is None):
        raise ValueError(f'give either frame_interval or fps, got frame_interval={frame_interval} and fps={fps}')
    spacing = fps if frame_interval is None else frame_interval
    if spacing <= 0 or (frame_interval is not None and frame_interval != int(frame_interval)):
        raise ValueError(f'frame_interval (a whole number) or fps must be positive, got {frame_interval}, {fps}')


@TRANSFORMS.register_module()
class SampleClips(BaseTransform):
    """Choose the frames of one or more clips of a video.

    Strategies: 'random' takes equally spaced frames from a start that is uniform over all that fit; several clips are
    drawn independently. 'segments' cuts the video into ``clip_len`` equal parts and takes one random frame of each.
    In testing nothing is random: starts lie in the middles of ``num_clips`` equal parts of their range, segments give
    their middle frame (several clips: evenly spaced ones).

    Args:
        clip_len: T, frames of a clip.
        frame_interval: frames from one to the next; one of ``frame_interval`` and ``fps`` for 'random'.
        fps: frames per second; a frame is the one shown at its time.
        num_clips: V, clips of the video.
        strategy: 'random' or 'segments'.
        max_distance: seconds by which the start of a further clip may differ from the first's; None: any.
        out_of_bound: where the video is shorter than the clip, 'loop' begins again, 'repeat_last' stays at the end.
        test_mode: no randomness.

    Needs ``filename`` (or an opened ``video``); adds ``video``, ``frame_inds`` (num_clips * clip_len), ``clip_len``,
    ``num_clips``, ``frame_interval``, ``total_frames``, and ``frame_times`` in seconds.

    Source: segments as in BEVT's SSv2 recipe, arXiv:2112.01529; max_distance as d_max in VIMPAC, arXiv:2106.11250,
    Table 6.
    """

    def __init__(self, clip_len: int, frame_interval: int | None = None, fps: float | None = None, num_clips: int = 1,
                 strategy: str = 'random', max_distance: float | None = None, out_of_bound: str = 'loop',
                 test_mode: bool = False):
        if strategy not in ('random', 'segments') or out_of_bound not in ('loop', 'repeat_last'):
            raise ValueError("strategy must be 'random' or 'segments' and out_of_bound 'loop' or 'repeat_last', "
                             f'got {strategy!r} and {out_of_bound!r}')
        if strategy == 'random' and not (clip_len == 1 and frame_interval is None and fps is None):
            _one_of(frame_interval, fps)
        elif frame_interval is not None or fps is not None:
            raise ValueError("strategy='segments' spans the whole video: it takes neither frame_interval nor fps")
        if clip_len < 1 or num_clips < 1:
            raise ValueError(f'clip_len and num_clips must be positive, got {clip_len} and {num_clips}')
        if max_distance is not None and (max_distance < 0 or strategy == 'segments' or test_mode):
            raise ValueError("max_distance must not be negative, and is for strategy='random' in training")
        self.clip_len, self.num_clips, self.fps = clip_len, num_clips, fps
        self.frame_interval = frame_interval or 1
        self.strategy, self.max_distance = strategy, max_distance
        self.out_of_bound, self.test_mode = out_of_bound, test_mode

    def transform(self, results: dict) -> dict:
        video = opened(results)
        if self.strategy == 'segments':
            indices = self._by_segments(video.num_frames)
        elif self.fps is not None:
            indices = self._by_time(video)
        else:
            indices = self._by_count(video)
        results.update(frame_inds=indices.reshape(-1), frame_times=video.times[indices.reshape(-1)],
                       clip_len=self.clip_len, num_clips=self.num_clips, frame_interval=self.frame_interval,
                       total_frames=video.num_frames)
        return results

    def _by_segments(self, num_frames: int) -> np.ndarray:
        size = num_frames / self.clip_len
        if self.test_mode:
            within = np.repeat((np.arange(self.num_clips)[:, None] + 0.5) / self.num_clips, self.clip_len, 1)
        else:
            within = np.random.random_sample((self.num_clips, self.clip_len))
        return np.minimum(((np.arange(self.clip_len) + within) * size).astype(np.int64), num_frames - 1)

    def _by_count(self, video: VideoReader) -> np.ndarray:
        num_starts = max(video.num_frames - (self.clip_len - 1) * self.frame_interval, 1)
        seconds = video.times[-1] / (video.num_frames - 1) if video.num_frames > 1 else 1.0
        starts = np.floor(self._starts(num_starts, None if self.max_distance is None else self.max_distance / seconds))
        starts = np.minimum(starts.astype(np.int64), num_starts - 1)
        indices = starts[:, None] + np.arange(self.clip_len) * self.frame_interval
        if self.out_of_bound == 'loop':
            return indices % video.num_frames
        return np.minimum(indices, video.num_frames - 1)

    def _by_time(self, video: VideoReader) -> np.ndarray:
        room = max(video.times[-1] - (self.clip_len - 1) / self.fps, 0.0)
        seconds = self._starts(room, self.max_distance)[:, None] + np.arange(self.clip_len) / self.fps
        if self.out_of_bound == 'loop':
            beyond = seconds > video.times[-1] + 1e-6
            seconds = np.where(beyond, seconds % video.duration, seconds)
        return frames_at(video, seconds)

    def _starts(self, room: float, reach: float | None) -> np.ndarray:
        """One start per clip in [0, room), in frames or seconds."""
        if self.test_mode:
            return (np.arange(self.num_clips) + 0.5) * room / self.num_clips
        starts = np.random.random_sample(self.num_clips)
        if reach is None:
            return starts * room
        first = starts[0] * room
        low, high = max(first - reach, 0.0), min(first + reach, room)
        return np.concatenate([[first], low + starts[1:] * (high - low)])


@TRANSFORMS.register_module()
class SampleWholeVideo(BaseTransform):
    """Choose frames at equal distances over a whole video, as one clip of whatever length comes out.

    Args:
        frame_interval: frames from one to the next; give one of ``frame_interval`` and ``fps``.
        fps: frames per second; a frame is the one shown at its time.

    Needs and adds what ``SampleClips`` does, with ``num_clips=1``.
    """

    def __init__(self, frame_interval: int | None = None, fps: float | None = None):
        _one_of(frame_interval, fps)
        self.frame_interval, self.fps = frame_interval, fps

    def transform(self, results: dict) -> dict:
        video = opened(results)
        if self.fps is None:
            indices = np.arange(0, video.num_frames, self.frame_interval)
        else:
            count = max(int(np.ceil((video.duration - video.tick) * self.fps - 1e-6)), 1)
            indices = frames_at(video, np.arange(count) / self.fps)
        results.update(frame_inds=indices, frame_times=video.times[indices], clip_len=len(indices), num_clips=1,
                       frame_interval=self.frame_interval or 1, total_frames=video.num_frames)
        return results
