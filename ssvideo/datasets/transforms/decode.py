"""Decode the frames that were chosen."""
from __future__ import annotations

import functools

from mmcv.transforms import BaseTransform
from mmengine.logging import print_log

from ...registry import TRANSFORMS
from ..broken import BrokenFileError
from ..decoders import decord_frames, why_not_decord
from .sample import opened


@functools.cache
def _say_once(text: str) -> None:
    print_log(text, logger='current')


@TRANSFORMS.register_module()
class DecodeClips(BaseTransform):
    """Decode the frames that were chosen, each once, and close the file.

    Args:
        decoder: 'pyav' (any file), or 'decord' where its frames are known to be right; other files go to PyAV, and the
            log says why, once for each reason.

    Needs ``frame_inds`` (and ``video`` or ``filename``); adds ``imgs``, a list of ``(H, W, 3)`` uint8 RGB arrays, one
    for each of ``frame_inds``, and ``original_shape``, ``img_shape`` (H, W); removes ``video``.
    """

    def __init__(self, decoder: str = 'pyav'):
        if decoder not in ('pyav', 'decord'):
            raise ValueError(f"decoder must be 'pyav' or 'decord', got {decoder!r}")
        self.decoder = decoder

    def transform(self, results: dict) -> dict:
        video = opened(results)
        try:
            images = self._read(video, results['frame_inds'])
        finally:
            video.close()
            del results['video']
        shapes = {image.shape[:2] for image in images}
        if len(shapes) > 1:
            raise BrokenFileError(video.path, f'the size of its frames changes: {sorted(shapes)}')
        results.update(imgs=images, original_shape=images[0].shape[:2], img_shape=images[0].shape[:2])
        return results

    def _read(self, video, indices) -> list:
        reason = why_not_decord(video) if self.decoder == 'decord' else 'PyAV was asked for'
        if reason is None:
            images = decord_frames(video, indices)
        else:
            if self.decoder == 'decord':
                _say_once(f'PyAV takes over from decord: {reason}')
            images = video.frames(indices)
        seen = set()  # a repeated frame gets an array of its own, as later transforms may write in place
        return [image.copy() if id(image) in seen or seen.add(id(image)) else image for image in images]
