"""One fixed view of a video: resized, cropped, perhaps mirrored, the same for every frame and at every time."""
from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from ...registry import TRANSFORMS
from ..broken import BrokenFileError
from ..decoders.pyav import MOST_ELONGATED

CROPS = {'top_left': 0.0, 'center': 0.5, 'bottom_right': 1.0}
"""Where a crop lies in what is left of the frame, from the left and from the top alike."""


@TRANSFORMS.register_module()
class FixedView(BaseTransform):
    """Resize the short side, cut out a square, and mirror it, or not.

    Args:
        size: height and width of the crop in pixels.
        scale: the short side is resized to ``size * scale`` first.
        crop: 'top_left', 'center' or 'bottom_right'.
        flip: mirror the crop, left to right.

    Needs ``imgs`` and ``filename``; replaces ``imgs`` and ``img_shape``, adds ``flip`` and ``crop_quadruple`` (x, y, w, h of
    the crop as shares of the frame), as mmaction2's transforms do.

    Raises:
        ValueError: if an argument is out of range.
        BrokenFileError: for frames that are mere stripes.

    Source: VIMPAC's 12 views, arXiv:2106.11250, App. B and Table 11.
    """

    def __init__(self, size: int, scale: float = 1.0, crop: str = 'center', flip: bool = False) -> None:
        if size < 1 or scale < 1 or crop not in CROPS:
            raise ValueError(f'FixedView: expected size >= 1, scale >= 1 and a crop of {list(CROPS)}, got size={size}, '
                             f'scale={scale}, crop={crop!r}')
        self.size, self.short_side, self.crop, self.flip = size, round(size * scale), crop, flip

    @property
    def name(self) -> str:
        """Of this view, such as '320_top_left_flip': the short side of the frame, the crop."""
        return f'{self.short_side}_{self.crop}' + '_flip' * self.flip

    def describe(self) -> dict:
        """The view, in the words of a token store's manifest."""
        return dict(short_side=self.short_side, crop=self.crop, flip=self.flip)

    def transform(self, results: dict) -> dict:
        height, width = results['imgs'][0].shape[:2]
        factor = self.short_side / min(height, width)
        width, height = int(width * factor + 0.5), int(height * factor + 0.5)
        if max(width, height) > MOST_ELONGATED * self.short_side:
            raise BrokenFileError(results['filename'], f'it is resized to {width} x {height}, more than {MOST_ELONGATED} times '
                                  'as long as wide')
        left, top = (int((side - self.size) * CROPS[self.crop]) for side in (width, height))
        images = (cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR) for image in results['imgs'])
        images = [image[top:top + self.size, left:left + self.size] for image in images]
        results.update(imgs=[image[:, ::-1] for image in images] if self.flip else images, img_shape=(self.size, self.size),
                       flip=self.flip, crop_quadruple=np.array([left / width, top / height, self.size / width,
                                                                self.size / height], np.float32))
        return results


def fixed_views(size: int, scales: Sequence[float] = (1.0,), crops: Sequence[str] = ('center',),
                flips: Sequence[bool] = (False,)) -> list[FixedView]:
    """Every combination of some scales, crops and flips."""
    return [FixedView(size, scale, crop, flip) for scale, crop, flip in product(scales, crops, flips)]


def describe_view(transforms: Sequence) -> dict:
    """What a pipeline makes of a frame, in the words of a token store's manifest.

    Args:
        transforms: those after decoding; ours, or mmaction2's.

    Returns:
        ``short_side`` in pixels (None: not resized, or not to a fixed short side), ``crop`` (None: none; else a key of
        ``CROPS``, or the name of a transform that is not known), and ``flip``.

    Raises:
        ValueError: if a transform is random, so that the tokens would be of no known view.
    """
    view = dict(short_side=None, crop=None, flip=False)
    for transform in transforms:
        name = type(transform).__name__
        if name.startswith('Random') or 0 < getattr(transform, 'flip_ratio', 0) < 1:
            raise ValueError(f'tokens are extracted once, in a fixed view: {name} is random, leave it out of the pipeline')
        if isinstance(transform, FixedView):
            view = transform.describe()
        elif name == 'Resize':
            fixed = transform.keep_ratio and isinstance(transform.scale, tuple) and np.isinf(max(transform.scale))
            view['short_side'] = int(min(transform.scale)) if fixed else None
        elif name == 'Flip':
            view['flip'] = transform.flip_ratio == 1
        elif 'Crop' in name:
            view['crop'] = 'center' if name == 'CenterCrop' else name
    return view
