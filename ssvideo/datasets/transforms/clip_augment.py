"""RandAugment on clips."""
from __future__ import annotations

import random

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image
from timm.data.auto_augment import RandAugment, rand_augment_choices, rand_augment_ops

from ...registry import TRANSFORMS
from ..draw_sampler import seeded

TIMM_MAX = 10
"""timm counts magnitudes up to this."""


@TRANSFORMS.register_module()
class RandomClipAugment(BaseTransform):
    """timm's RandAugment, with one draw for all frames of a clip.

    The operations are timm's whose effect grows with the magnitude; each that is chosen is applied. What moves into the
    picture is grey.

    Args:
        num_ops: operations applied to a clip, drawn with replacement (N of the paper).
        magnitude: their strength (M of the paper).
        max_magnitude: the magnitude of the strongest: 10 as timm counts, 30 as imgaug and the paper do.

    Needs ``imgs`` and ``clip_len``; replaces ``imgs``.

    Raises:
        ValueError: if ``num_ops`` or a magnitude is out of range.

    Source: RandAugment, arXiv:1909.13719.
    """

    def __init__(self, num_ops: int, magnitude: float, max_magnitude: float = TIMM_MAX) -> None:
        if num_ops < 1 or not 0 <= magnitude <= max_magnitude or not max_magnitude:
            raise ValueError('RandomClipAugment: expected num_ops >= 1 and 0 <= magnitude <= max_magnitude, got '
                             f'num_ops={num_ops}, magnitude={magnitude}, max_magnitude={max_magnitude}')
        operations = rand_augment_ops(magnitude * TIMM_MAX / max_magnitude, prob=1.0,
                                      transforms=rand_augment_choices('default', increasing=True))
        self.augment = RandAugment(operations, num_ops)

    def transform(self, results: dict) -> dict:
        images, clip_len = results['imgs'], results['clip_len']
        seeds = [random.getrandbits(63) for _ in range(0, len(images), clip_len)]
        augmented = []
        for number, image in enumerate(images):
            with seeded(seeds[number // clip_len]):  # every frame of a clip draws the same
                augmented.append(np.asarray(self.augment(Image.fromarray(image))))
        results['imgs'] = augmented
        return results
