"""Random erasing on clips."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from timm.data.random_erasing import RandomErasing

from ...registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomClipErasing(BaseTransform):
    """timm's random erasing, of the same rectangle on all frames of a clip.

    The rectangle covers 2 to 33 % of the picture, as published.

    Args:
        probability: of erasing in a clip.
        fill: RGB in 0..255 of what is erased; ImageNet's mean, so that it is near 0 once it is normalised.

    Needs ``imgs``, of one size, and ``clip_len``; replaces ``imgs``.

    Raises:
        ValueError: if ``probability`` or ``fill`` is out of range.

    Source: Random Erasing, arXiv:1708.04896.
    """

    def __init__(self, probability: float, fill: Sequence[float] = (123.675, 116.28, 103.53)) -> None:
        if not 0 <= probability <= 1 or len(fill) != 3 or not all(0 <= value <= 255 for value in fill):
            raise ValueError('RandomClipErasing: expected a probability in [0, 1] and three values of fill in [0, 255], got '
                             f'probability={probability}, fill={fill}')
        self.erase = RandomErasing(probability, mode='const', device='cpu')
        self.fill = np.round(fill).astype(np.uint8)

    def transform(self, results: dict) -> dict:
        images, clip_len = results['imgs'], results['clip_len']
        erased = []
        for start in range(0, len(images), clip_len):
            kept = self.erase(torch.ones(1, *images[0].shape[:2])).numpy().transpose(1, 2, 0) > 0  # (H, W, 1)
            clip = images[start:start + clip_len]
            erased += clip if kept.all() else [np.where(kept, image, self.fill) for image in clip]
        results['imgs'] = erased
        return results
