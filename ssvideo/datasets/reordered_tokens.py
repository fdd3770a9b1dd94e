"""Clips of a token store with their frames in another order."""
from __future__ import annotations

import torch
from torch.utils.data import Dataset

from ..registry import DATASETS
from ..structures import PAD
from .temporal_order import TEMPORAL_ORDERS, shown_frames


@DATASETS.register_module()
class ReorderedTokens(Dataset):
    """What ``TokenClips`` gives in testing, with the frames of each clip permuted, reversed or frozen.

    All views of a video show the same. Frames of PAD, at the end of a video that is shorter than a clip, stay where they are.

    Args:
        dataset: config of a ``TokenClips`` with ``test_mode``.
        order: one of ``TEMPORAL_ORDERS``; see :func:`~ssvideo.datasets.temporal_order.shown_frames`.
        seed: of what is drawn, together with the name of the video.

    Raises:
        ValueError: for another order, or a data set that draws its clips.
    """

    def __init__(self, dataset: dict, order: str, seed: int = 0) -> None:
        if order not in TEMPORAL_ORDERS:
            raise ValueError(f'ReorderedTokens: order must be one of {TEMPORAL_ORDERS}, got {order!r}')
        if not dataset.get('test_mode'):
            raise ValueError('ReorderedTokens: expected a data set with test_mode=True, where all views have the same clips')
        self.clips = DATASETS.build(dataset)
        self.on_broken = self.clips.on_broken
        self.order, self.seed = order, seed

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, item: int | tuple[int, int]) -> dict:
        """As ``TokenClips``, whose ``starts`` stay those of the clips as they were."""
        found = self.clips[item]
        if 'missing' in found['data_samples']:
            return found
        tokens, sample = found['tokens'], found['data_samples']  # tokens: (views * num_clips, t, h, w)
        live = int((tokens[0] != PAD).flatten(1).any(1).sum())  # frames; with several clips, the same in each
        num_clips = self.clips.num_clips
        shown = torch.from_numpy(shown_frames(self.order, num_clips, live, sample.name, self.seed).copy())
        views = tokens[:, :live].unflatten(0, (-1, num_clips)).flatten(1, 2)  # (views, num_clips * live, h, w)
        reordered = tokens.clone()
        reordered[:, :live] = views[:, shown].flatten(0, 1)
        return dict(found, tokens=reordered)
