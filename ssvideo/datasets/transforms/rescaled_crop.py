"""A random square of a randomly rescaled clip, of which only what is kept is resized."""
from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from torch.nn.functional import interpolate

from ...registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomRescaledCrop(BaseTransform):
    """mmaction2's ``RandomRescale`` and ``RandomCrop`` in one: the same augmentation at less than half the cost.

    As if the short side were resized to a random length, and a random square cut out of that: here the square is cut out
    first, at whole pixels of the file, and resized. All frames of all clips show the same square. Where it grows, OpenCV
    enlarges it, as in mmaction2's; where it shrinks, it is smoothed first, as Pillow does, where mmaction2's would flicker.

    Args:
        size: height and width of the result.
        scale_range: least and greatest length of the short side; at least ``size``.
        interpolation: 'bicubic' or 'bilinear'.

    Needs ``imgs`` of one size; replaces ``imgs`` (by one ``(M, size, size, 3)`` array, which ``FormatShape`` then need not
    make) and ``img_shape``, adds ``crop_quadruple`` (x, y, w, h of the square as shares of the frame, within a former one)
    and ``short_edge``, as mmaction2's do.

    Raises:
        ValueError: if an argument is out of range.

    Source: the scale jitter of BEVT's released configuration, arXiv:2112.01529.
    """

    def __init__(self, size: int, scale_range: Sequence[int], interpolation: str = 'bicubic') -> None:
        fits = len(scale_range) == 2 and 1 <= size <= scale_range[0] <= scale_range[1]
        if not fits or interpolation not in ('bicubic', 'bilinear'):
            raise ValueError('RandomRescaledCrop: expected 1 <= size <= scale_range[0] <= scale_range[1] and interpolation '
                             f"'bicubic' or 'bilinear', got size={size}, scale_range={scale_range}, "
                             f'interpolation={interpolation!r}')
        self.size, self.scale_range, self.interpolation = size, tuple(scale_range), interpolation

    def transform(self, results: dict) -> dict:
        height, width = results['imgs'][0].shape[:2]
        short_edge = np.random.randint(self.scale_range[0], self.scale_range[1] + 1)
        side = max(round(min(height, width) * self.size / short_edge), 1)
        top, left = np.random.randint(height - side + 1), np.random.randint(width - side + 1)
        squares = [image[top:top + side, left:left + side] for image in results['imgs']]
        resized = self._shrunk(squares) if side > self.size else self._enlarged(squares)
        x, y, w, h = results.get('crop_quadruple', (0.0, 0.0, 1.0, 1.0))
        within = x + w * left / width, y + h * top / height, w * side / width, h * side / height
        results.update(imgs=resized, img_shape=(self.size, self.size), short_edge=short_edge,
                       crop_quadruple=np.array(within, np.float32))
        return results

    def _enlarged(self, squares: list[np.ndarray]) -> np.ndarray:
        kind = cv2.INTER_CUBIC if self.interpolation == 'bicubic' else cv2.INTER_LINEAR
        resized = np.empty((len(squares), self.size, self.size, 3), np.uint8)
        for square, place in zip(squares, resized):
            cv2.resize(square, (self.size, self.size), dst=place, interpolation=kind)
        return resized

    def _shrunk(self, squares: list[np.ndarray]) -> np.ndarray:
        pixels = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2)  # channels last in memory, for which torch is fast
        resized = interpolate(pixels, (self.size, self.size), mode=self.interpolation, antialias=True)
        return resized.permute(0, 2, 3, 1).contiguous().numpy()
