"""The frames of a clip in another order, or one for all: how much a model depends on time."""
from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from .draw_sampler import draw_seed

TEMPORAL_ORDERS = ('normal', 'single-frame', 'shuffle', 'reverse')


def shown_frames(order: str, num_clips: int, clip_len: int, video: str, seed: int) -> np.ndarray:
    """Say which frame of a video's clips is shown at each place of them.

    What is drawn is drawn once for a video, from ``seed`` and the name of its file (without folders, so that it does not
    matter where the data are), and holds for all its clips and crops: 'shuffle' permutes the frames of each clip in the same
    way; 'single-frame' shows one frame of all clips, at every place of each of them, so that the video stands still
    whichever clips are averaged. 'reverse' shows each clip backwards.

    Args:
        order: one of ``TEMPORAL_ORDERS``.
        num_clips: temporal clips of the video.
        clip_len: frames of a clip.
        video: path or name of the video.
        seed: of the draws.

    Returns:
        ``(num_clips, clip_len)`` int64, frames numbered through the clips: frame f of clip c is c * clip_len + f.

    Raises:
        ValueError: for another order.

    Source: BEVT, arXiv:2112.01529, Sec. 4.2 and Table 2; 'reverse' is ours.
    """
    frames = np.arange(num_clips * clip_len).reshape(num_clips, clip_len)
    rng = random.Random(draw_seed(seed, 'temporal', Path(video).name))
    if order == 'normal':
        return frames
    if order == 'reverse':
        return frames[:, ::-1]
    if order == 'shuffle':
        return frames[:, rng.sample(range(clip_len), clip_len)]
    if order == 'single-frame':
        return np.full_like(frames, rng.randrange(frames.size))
    raise ValueError(f'order must be one of {TEMPORAL_ORDERS}, got {order!r}')
