"""Decode the frames that were chosen."""
from __future__ import annotations

from mmcv.transforms import BaseTransform

from ...registry import TRANSFORMS
from ..broken import BrokenFileError
from ..checked_files import Stamp
from ..decoders import VideoReader, check_decoder, read_frames
from ..decoders.choice import NEVER
from ..time_limit import within
from .sample import opened


@TRANSFORMS.register_module()
class DecodeClips(BaseTransform):
    """Decode the frames that were chosen, each once, and close the file.

    Args:
        decoder: 'pyav' (any file); or 'decord' or 'torchcodec' where their frames are known to be right: other files go to
            PyAV, and the log says why, once for each reason. Both others show a damaged frame as well as they can, without
            a word, so they read only files of lists that ``tools/data/check_videos.py`` wrote after decoding all frames,
            as long as neither the list nor the file is changed.
        short_side: pixels that the short side gets while the planes are made RGB, in the place of a
            ``Resize(scale=(-1, short_side))`` behind: mean of the area where it shrinks, bicubic where it enlarges. It saves the
            memory of whole frames, and what smoothing costs elsewhere. It needs 'pyav'. None: the size of the file.

    Needs ``frame_inds`` and ``video`` or ``filename``; adds ``imgs``, a list of ``(H, W, 3)`` uint8 RGB arrays, one
    for each of ``frame_inds``, ``original_shape`` (H, W of the file, turned as it is shown) and ``img_shape``; removes
    ``video``. Of the results, ``time_limit`` is how many seconds decoding may take, ``checked`` what the file was when it was
    checked.

    Raises:
        ValueError: if there is no such decoder, or an argument does not fit.
        ImportError: if the decoder is not installed.
    """

    def __init__(self, decoder: str = 'pyav', short_side: int | None = None):
        check_decoder(decoder)
        if short_side is not None and (decoder != 'pyav' or short_side < 1):
            raise ValueError("short_side must be at least 1 and needs decoder='pyav', got "
                             f'short_side={short_side}, decoder={decoder!r}')
        self.decoder, self.short_side = decoder, short_side

    def transform(self, results: dict) -> dict:
        video = opened(results)
        del results['video']  # from here on it belongs to the call, which may be left behind
        images = within(results.get('time_limit'), video.path, self._read_and_close, video, results['frame_inds'],
                        results.get('checked', NEVER))
        shapes = {image.shape[:2] for image in images}
        if len(shapes) > 1:
            raise BrokenFileError(video.path, f'the size of its frames changes: {sorted(shapes)}')
        shape = images[0].shape[:2]
        results.update(imgs=images, original_shape=shape if self.short_side is None else _as_shown(video, shape), img_shape=shape)
        return results

    def _read_and_close(self, video: VideoReader, indices, checked: Stamp) -> list:
        try:
            if self.short_side is None:
                images = read_frames(video, indices, self.decoder, checked)
            else:
                images = video.frames(indices, self.short_side)
        finally:
            video.close()
        seen = set()  # a repeated frame gets an array of its own, as later transforms may write in place
        return [image.copy() if id(image) in seen or seen.add(id(image)) else image for image in images]


def _as_shown(video: VideoReader, shape: tuple[int, int]) -> tuple[int, int]:
    """(H, W) of the file, the way round that its resized pictures are."""
    sides = sorted((video.height, video.width))
    return tuple(sides if shape[0] <= shape[1] else sides[::-1])
