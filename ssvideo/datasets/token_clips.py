"""Clips of tokens from a store."""
from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from mmaction.structures import ActionDataSample
from torch import Tensor
from torch.utils.data import Dataset

from ..registry import DATASETS
from ..structures import PAD
from .draw_sampler import draw_seed
from .entries import read_list
from .token_store import TokenStore


@DATASETS.register_module()
class TokenClips(Dataset):
    """Draws clips from the videos of a token store; only the clips' part of the store is read.

    In training the V clips of a video are drawn uniformly and independently, as a function of (``seed``, ``stream``,
    draw number) and of nothing else. In testing they are evenly spread. A video that is shorter than a clip is filled
    up with frames of PAD.

    Args:
        store: folder of the store.
        clip_len: t, token frames of a clip.
        num_clips: V, clips of each video.
        frame_interval: stored frames from one frame of a clip to the next.
        labels: annotation file of lines ``name label`` that chooses videos of the store and labels them; ``None``
            takes all videos, with the labels that the store has.
        max_distance: seconds by which the start of a further clip may differ from the first's; ``None``: any.
        test_mode: no randomness.
        stream: name of the stream, a key of the randomness.
        seed: of the randomness; ``None``: that of the ``DrawSampler`` that draws from it (the run's), else 0.
        expect: what the store's manifest must say, such as ``dict(fps=2, grid=(16, 16))``.

    Raises:
        ValueError: if an argument is out of range, the store is not finished or not as expected, or lacks a video.

    Source: two clips a video and ``max_distance`` (d_max): VIMPAC, arXiv:2106.11250, Sec. 3.2 and Table 6.
    """

    def __init__(self, store: str | Path, clip_len: int, num_clips: int = 1, frame_interval: int = 1,
                 labels: str | Path | None = None, max_distance: float | None = None, test_mode: bool = False,
                 stream: str = 'video', seed: int | None = None, expect: dict | None = None) -> None:
        if min(clip_len, num_clips, frame_interval) < 1:
            raise ValueError('TokenClips: clip_len, num_clips and frame_interval must be at least 1, got '
                             f'{clip_len}, {num_clips} and {frame_interval}')
        if max_distance is not None and (max_distance < 0 or test_mode):
            raise ValueError(f'TokenClips: max_distance must not be negative and is for training, got {max_distance}')
        self.store = TokenStore(store)
        self.store.check(expect or {})
        if not len(self.store):
            raise ValueError(f'TokenClips: the store {store} holds no video')
        self.entries = None if labels is None else self._read_labels(labels)
        self.clip_len, self.num_clips, self.frame_interval = clip_len, num_clips, frame_interval
        self.max_distance, self.test_mode = max_distance, test_mode
        self.stream, self.seed = stream, seed

    def _read_labels(self, file: str | Path):
        entries = read_list(file, labels=True)
        known = set(self.store.names)
        missing = [entries.path(i) for i in range(len(entries)) if entries.path(i) not in known]
        if missing or not len(entries):
            raise ValueError(f'{len(missing)} of the {len(entries)} videos of {file} are not in {self.store.path}: '
                             f'{missing[:3]}; the store names them as {self.store.names[:3]}')
        return entries

    def __len__(self) -> int:
        return len(self.store if self.entries is None else self.entries)

    def __getitem__(self, item: int | tuple[int, int]) -> dict:
        """Load the clips of a video.

        Args:
            item: ``(index, draw)`` as a ``DrawSampler`` gives it, or a plain index, which is its own draw number.

        Returns:
            ``tokens``, ``(V, t, h, w)`` int64; and ``data_samples``, an ``ActionDataSample`` with the video's ``name``
            and, where there is one, its label.
        """
        index, draw = item if isinstance(item, tuple) else (item, item)
        name, label = self._name_and_label(index)
        num_frames = self.store.num_frames(name)
        starts = self.starts(num_frames, random.Random(draw_seed(self.seed or 0, self.stream, draw)))
        sample = ActionDataSample(metainfo=dict(name=name, total_frames=num_frames, starts=starts))
        if label is not None:
            sample.set_gt_label(label)
        return dict(tokens=self._read(name, num_frames, starts), data_samples=sample)

    def starts(self, num_frames: int, rng: random.Random) -> list[int]:
        """First frames of the clips of a video.

        Args:
            num_frames: of the video.
            rng: not used in testing.

        Returns:
            V numbers.
        """
        last = max(num_frames - (self.clip_len - 1) * self.frame_interval - 1, 0)
        if self.test_mode:
            return [int((i + 0.5) * (last + 1) / self.num_clips) for i in range(self.num_clips)]
        first = rng.randint(0, last)
        reach = last if self.max_distance is None else int(self.max_distance * self.store.manifest['fps'])
        low, high = max(first - reach, 0), min(first + reach, last)
        return [first, *(rng.randint(low, high) for _ in range(self.num_clips - 1))]

    def _name_and_label(self, index: int) -> tuple[str, int | None]:
        if self.entries is not None:
            return self.entries.path(index), self.entries.label(index)
        video = self.store.videos[index]
        return video.name, video.label

    def _read(self, name: str, num_frames: int, starts: list[int]) -> Tensor:
        frames = np.array(starts)[:, None] + np.arange(self.clip_len) * self.frame_interval  # (V, t)
        inside = frames < num_frames
        tokens = torch.full((*frames.shape, *self.store.grid), PAD)
        tokens[torch.from_numpy(inside)] = self.store.read(name, frames[inside])
        return tokens
