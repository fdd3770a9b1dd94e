"""The picture that a tokenizer is shown in training, made in a pipeline."""
from __future__ import annotations

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from ...models.layers.resize_pixels import Filter, resize_pixels
from ...registry import TRANSFORMS


@TRANSFORMS.register_module()
class TokenizerView(BaseTransform):
    """Resize frames as the ``Pretrainer`` does for its tokenizer, to the same grey levels.

    Behind the crop that training uses, in a pipeline for ``tools/extract_tokens.py``, it makes the store hold the ids
    that the tokenizer gives in training: BEVT crops 224 x 224 and tokenizes 112 x 112.

    Args:
        size: (height, width) of the view, or its side.
        view_filter: the tokenizer's; see :func:`~ssvideo.models.layers.resize_pixels.resize_pixels`.

    Needs ``imgs``, ``(H, W, 3)`` uint8 arrays; changes them and ``img_shape``.
    """

    def __init__(self, size: int | tuple[int, int], view_filter: Filter = 'lanczos4'):
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.view_filter = view_filter

    def transform(self, results: dict) -> dict:
        results.update(imgs=[self._resized(image) for image in results['imgs']], img_shape=self.size)
        return results

    def _resized(self, image: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
        resized = resize_pixels(pixels, self.size, self.view_filter)  # whole levels / 255
        return (resized * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
