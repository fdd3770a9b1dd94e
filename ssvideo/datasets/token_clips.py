"""Clips of tokens from a store."""
from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from mmaction.structures import ActionDataSample
from torch import Tensor
from torch.utils.data import Dataset

from ..registry import DATASETS
from ..structures import PAD
from .draw_sampler import draw_seed
from .entries import read_list
from .missing import missing_sample
from .token_manifest import SPECIFIED, view_folders
from .token_store import TokenStore


@DATASETS.register_module()
class TokenClips(Dataset):
    """Draws clips from the videos of a token store; only the clips' part of the store is read.

    In training the V clips of a video are drawn uniformly and independently, as a function of (``seed``, ``stream``,
    draw number) and of nothing else. In testing they are evenly spread. A video that is shorter than a clip is filled
    up with frames of PAD.

    A video may be stored in several views (other sizes, crops, mirrored), one store for each. In training each clip is
    then taken from a random one; in testing every view gives its clips, so that V is views times ``num_clips``.

    Args:
        store: folder of the store; or of the stores of several views, which are its sub-folders; or a list of stores.
        clip_len: t, token frames of a clip.
        num_clips: V, clips of each video.
        frame_interval: stored frames from one frame of a clip to the next.
        labels: annotation file of lines ``name label`` that chooses videos of the store and labels them; ``None``
            takes all videos, with the labels that the store has.
        max_distance: seconds by which the start of a further clip may differ from the first's; ``None``: any.
        test_mode: no randomness.
        on_broken: what is done about a video of the list that is not in the store, as its extraction failed: 'error', or
            'missing' (in testing only): clips of PAD and a ``missing_sample`` keep its place, see ``VideoList``.
        stream: name of the stream, a key of the randomness.
        seed: of the randomness; ``None``: that of the ``DrawSampler`` that draws from it (the run's), else 0.
        expect: what the store's manifest must say, such as ``dict(fps=2, grid=(16, 16))``.

    Raises:
        ValueError: if an argument is out of range, the store is not finished or not as expected, or lacks a video, or
            the views are not of the same videos.

    Source: two clips a video and ``max_distance`` (d_max): VIMPAC, arXiv:2106.11250, Sec. 3.2 and Table 6; views in
    fine-tuning and testing: App. B.
    """

    def __init__(self, store: str | Path | Sequence[str | Path], clip_len: int, num_clips: int = 1, frame_interval: int = 1,
                 labels: str | Path | None = None, max_distance: float | None = None, test_mode: bool = False,
                 on_broken: Literal['error', 'missing'] = 'error', stream: str = 'video', seed: int | None = None,
                 expect: dict | None = None) -> None:
        if min(clip_len, num_clips, frame_interval) < 1:
            raise ValueError('TokenClips: clip_len, num_clips and frame_interval must be at least 1, got '
                             f'{clip_len}, {num_clips} and {frame_interval}')
        if max_distance is not None and (max_distance < 0 or test_mode):
            raise ValueError(f'TokenClips: max_distance must not be negative and is for training, got {max_distance}')
        if on_broken not in ('error', 'missing') or (on_broken == 'missing' and not test_mode):
            raise ValueError("TokenClips: on_broken must be 'error', or 'missing' with test_mode=True, got "
                             f'{on_broken!r} with test_mode={test_mode}')
        self.on_broken = on_broken
        self.views = _open_views(store, expect or {})
        self.store = self.views[0]
        self.entries, self.numbers = (None, None) if labels is None else self._read_labels(labels)
        self.clip_len, self.num_clips, self.frame_interval = clip_len, num_clips, frame_interval
        self.max_distance, self.test_mode = max_distance, test_mode
        self.stream, self.seed = stream, seed

    def _read_labels(self, file: str | Path):
        """The entries of the list, and the number of each in the store; -1 where its prediction is missing."""
        entries = read_list(file, labels=True)
        numbers, missing = np.zeros(len(entries), np.int64), []
        for i in range(len(entries)):
            try:
                numbers[i] = self.store.videos.find(entries.path(i))
            except KeyError:
                missing.append(entries.path(i))
                numbers[i] = -1
        if (missing and self.on_broken == 'error') or len(missing) == len(entries):
            known = [self.store.videos[i].name for i in range(min(len(self.store), 3))]
            raise ValueError(f'{len(missing)} of the {len(entries)} videos of {file} are not in {self.store.path}: '
                             f'{missing[:3]}; the store names them as {known}')
        return entries, numbers

    def __len__(self) -> int:
        return len(self.store if self.entries is None else self.entries)

    def describe(self, index: int) -> dict:
        """The ``filename`` of a video: as its list has it, else its name in the store."""
        return {'filename': self.store.videos[index].name if self.entries is None else self.entries.path(index)}

    def __getitem__(self, item: int | tuple[int, int]) -> dict:
        """Load the clips of a video.

        Args:
            item: ``(index, draw)`` as a ``DrawSampler`` gives it, or a plain index, which is its own draw number.

        Returns:
            ``tokens``, ``(V, t, h, w)`` int64; and ``data_samples``, an ``ActionDataSample`` with the video's ``name``
            and, where there is one, its label; ``starts`` are the first frames of the V clips, ``views`` the numbers of
            their stores. For a video that is not in the store, see ``on_broken``, only PAD and a ``missing_sample``.
        """
        index, draw = item if isinstance(item, tuple) else (item, item)
        number = index if self.numbers is None else int(self.numbers[index])
        if number < 0:
            return self._missing(index)
        name, num_frames, label = self.store.videos[number]
        if self.entries is not None:
            label = self.entries.label(index)
        rng = random.Random(draw_seed(self.seed or 0, self.stream, draw))
        starts = self.starts(num_frames, rng)
        if self.test_mode:
            views = [view for view in range(len(self.views)) for _ in starts]
            starts = starts * len(self.views)
        else:
            views = [rng.randrange(len(self.views)) for _ in starts]
        sample = ActionDataSample(metainfo=dict(name=name, total_frames=num_frames, starts=starts, views=views))
        if label is not None:
            sample.set_gt_label(label)
        return dict(tokens=self._read(number, num_frames, starts, views), data_samples=sample)

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

    def _missing(self, index: int) -> dict:
        tokens = torch.full((len(self.views) * self.num_clips, self.clip_len, *self.store.grid), PAD)
        sample = missing_sample(self.entries.path(index), f'it is not in the token store {self.store.path}',
                                self.entries.label(index))
        return dict(tokens=tokens, data_samples=sample)

    def _read(self, number: int, num_frames: int, starts: list[int], views: list[int]) -> Tensor:
        frames = np.array(starts)[:, None] + np.arange(self.clip_len) * self.frame_interval  # (V, t)
        inside = frames < num_frames
        tokens = torch.full((*frames.shape, *self.store.grid), PAD)
        for view in sorted(set(views)):
            here = inside & (np.array(views) == view)[:, None]
            tokens[torch.from_numpy(here)] = self.views[view].read(number, frames[here])
        return tokens


def _open_views(store: str | Path | Sequence[str | Path], expect: dict) -> list[TokenStore]:
    """The stores of all views, which hold the same videos under the same numbers."""
    folders = [store] if isinstance(store, (str, Path)) else store
    views = [TokenStore(view) for folder in folders for view in view_folders(Path(folder))]
    if not views or not len(views[0]):
        raise ValueError(f'TokenClips: the store {store} holds no video')
    shared = {key: views[0].manifest[key] for key in (*SPECIFIED, 'videos') if key != 'size'}
    for view in views:
        view.check(expect)
        try:
            view.check(shared)
        except ValueError as error:
            raise ValueError(f'{views[0].path} and {view.path} are no views of the same videos: {error}. If one of them was '
                             'not finished, run tools/extract_tokens.py again') from error
    return views
