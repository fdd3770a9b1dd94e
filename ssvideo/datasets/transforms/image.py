"""An image file as a clip of one frame."""
from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import ExifTags, Image, ImageOps

from ...registry import TRANSFORMS
from ..broken import BrokenFileError
from ..file_backends import local_copy
from ..time_limit import within


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Read an image as a clip of one frame.

    Pillow reads it, as it refuses a file that is cut off, of which OpenCV makes a half grey image. It is turned as its
    EXIF orientation says.

    Args:
        min_short_side: pixels that suffice for what follows: a JPEG larger than twice that is decoded at 1/2, 1/4 or 1/8 of
            its size, as far as its short side keeps so many. For photographs much larger than the crops. None: at its size.

    Needs ``filename``; adds ``imgs`` (one ``(H, W, 3)`` uint8 RGB array), ``clip_len=1``, ``num_clips=1``,
    ``frame_inds``, ``total_frames``, ``original_shape`` (H, W of the file, as it is shown) and ``img_shape``. Of the results,
    ``backend_args`` are of one of mmengine's file backends, ``time_limit`` is how many seconds reading may take.
    """

    def __init__(self, min_short_side: int | None = None):
        if min_short_side is not None and min_short_side < 1:
            raise ValueError(f'min_short_side must be at least 1, got {min_short_side}')
        self.min_short_side = min_short_side

    def transform(self, results: dict) -> dict:
        path = str(results['filename'])
        pixels, shape = within(results.get('time_limit'), path, self._read, path, results.get('backend_args'))
        results.update(imgs=[pixels], clip_len=1, num_clips=1, frame_interval=1, frame_inds=np.zeros(1, np.int64),
                       total_frames=1, original_shape=shape, img_shape=pixels.shape[:2])
        return results

    def _read(self, path: str, backend_args: Mapping | None) -> tuple[np.ndarray, tuple[int, int]]:
        with local_copy(path, backend_args) as local:
            try:
                return self._decode(local, path)
            except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
                raise BrokenFileError(path, f'{type(error).__name__}: {error}') from error

    def _decode(self, local: str, path: str) -> tuple[np.ndarray, tuple[int, int]]:
        with Image.open(local) as image:
            if image.mode.startswith(('I', 'F')):
                raise BrokenFileError(path, f'it has more than 8 bits per value (mode {image.mode})')
            lies = image.getexif().get(ExifTags.Base.Orientation, 1) > 4
            shape = image.size if lies else image.size[::-1]
            if self.min_short_side is not None:
                image.draft(None, (self.min_short_side, self.min_short_side))  # without effect on anything but a JPEG
            return np.array(ImageOps.exif_transpose(image).convert('RGB')), shape
