"""An image file as a clip of one frame."""
from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image, ImageOps

from ...registry import TRANSFORMS
from ..broken import BrokenFileError


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Read an image as a clip of one frame.

    Pillow reads it, as it refuses a file that is cut off, of which OpenCV makes a half grey image. It is turned as its
    EXIF orientation says.

    Needs ``filename``; adds ``imgs`` (one ``(H, W, 3)`` uint8 RGB array), ``clip_len=1``, ``num_clips=1``,
    ``frame_inds``, ``total_frames``, ``original_shape`` and ``img_shape`` (H, W).
    """

    def transform(self, results: dict) -> dict:
        path = results['filename']
        try:
            with Image.open(path) as image:
                if image.mode.startswith(('I', 'F')):
                    raise BrokenFileError(path, f'it has more than 8 bits per value (mode {image.mode})')
                pixels = np.array(ImageOps.exif_transpose(image).convert('RGB'))
        except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
            raise BrokenFileError(path, f'{type(error).__name__}: {error}') from error
        results.update(imgs=[pixels], clip_len=1, num_clips=1, frame_interval=1, frame_inds=np.zeros(1, np.int64),
                       total_frames=1, original_shape=pixels.shape[:2], img_shape=pixels.shape[:2])
        return results
