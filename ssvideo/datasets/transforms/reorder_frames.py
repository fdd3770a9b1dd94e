"""Show the chosen frames in another order, to test what a model knows of time."""
from __future__ import annotations

from mmcv.transforms import BaseTransform

from ...registry import TRANSFORMS
from ..temporal_order import TEMPORAL_ORDERS, shown_frames


@TRANSFORMS.register_module()
class ReorderFrames(BaseTransform):
    """Permute, reverse or freeze the frames of each clip.

    Stands between the transform that chooses the frames and the one that decodes them, so that crops and views made later
    all show the same, and a frame that is repeated is decoded once.

    Args:
        order: one of ``TEMPORAL_ORDERS``; see :func:`~ssvideo.datasets.temporal_order.shown_frames`.
        seed: of what is drawn, together with the name of the video's file.

    Needs ``frame_inds``, ``num_clips``, ``clip_len`` and ``filename``; replaces ``frame_inds`` and, where there are any,
    ``frame_times``.

    Raises:
        ValueError: for another order.
    """

    def __init__(self, order: str, seed: int = 0) -> None:
        if order not in TEMPORAL_ORDERS:
            raise ValueError(f'ReorderFrames: order must be one of {TEMPORAL_ORDERS}, got {order!r}')
        self.order, self.seed = order, seed

    def transform(self, results: dict) -> dict:
        shown = shown_frames(self.order, results['num_clips'], results['clip_len'], results['filename'], self.seed).reshape(-1)
        for key in ('frame_inds', 'frame_times'):
            if key in results:
                results[key] = results[key][shown]
        return results
