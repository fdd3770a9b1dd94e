"""decord, for the files on which it is known to be right."""
from __future__ import annotations

import functools
import re
from collections.abc import Sequence

import numpy as np

from ..broken import BrokenFileError
from .pyav import VideoReader

TRUSTED = {('mov,mp4,m4a,3gp,3g2,mj2', 'h264'), ('matroska,webm', 'h264')}
"""Container and codec for which decord's frames were found right. Elsewhere it returns others than those asked for:
12 frames late in MPEG-1 and MPEG-2 streams, stale last frames in AVI, 40 of 120 frames of a cut HEVC file."""


def why_not_decord(reader: VideoReader) -> str | None:
    """The reason why decord must not read this file; None if it may."""
    if (reader.container, reader.codec) not in TRUSTED:
        return f'it returns wrong frames, or was never proved right, for {reader.codec} in {reader.container}'
    if reader.pixel_format not in ('yuv420p', 'yuvj420p'):
        return f'it returns wrong colours, or was never proved right, for {reader.pixel_format}'
    if not reader.seekable:
        return "the file's index cannot be relied on"
    if not reader.keys_are_idr:
        return 'it returns wrong frames where key frames are not IDR (open groups of pictures, intra refresh)'
    if reader.is_turned():
        return 'the picture is turned by a flag'
    return None


@functools.cache
def import_decord():
    """decord, silenced: it is optional, made for x86-64 Linux only, and its FFmpeg tells every error on stderr.

    Raises:
        ImportError: that says what to install.
    """
    try:
        import decord
    except ImportError as error:
        raise ImportError("decoder='decord' needs the package decord (x86-64 Linux): pip install decord; or say "
                          "decoder='pyav'") from error
    decord.logging.set_level(decord.logging.QUIET)
    return decord


def _plain(error: Exception) -> str:
    """The first line without clock times and places in decord's source, so that it is the same each time."""
    return re.sub(r'\[[\d:]+\] \S+:\d+: ', '', str(error).strip().splitlines()[0])


def decord_frames(reader: VideoReader, indices: Sequence[int]) -> list[np.ndarray]:
    """Read frames with decord, after it has shown to agree about the times of all frames asked for.

    Args:
        reader: the opened file, for which ``why_not_decord`` returned None.
        indices: numbers of frames, in any order.

    Returns:
        A ``(H, W, 3)`` uint8 RGB array for each index.

    Raises:
        BrokenFileError: if decord fails, or counts or times the frames otherwise.
    """
    decord = import_decord()
    wanted = sorted(set(map(int, indices)))
    try:
        video = decord.VideoReader(reader.local_path, num_threads=1)
        if len(video) != reader.num_frames:
            raise BrokenFileError(reader.path, f'decord finds {len(video)} frames of {reader.num_frames}')
        shown = video.get_frame_timestamp(list(range(reader.num_frames)))[:, 0]
        frames = video.get_batch(wanted).asnumpy()
    except (decord.DECORDError, RuntimeError, IndexError) as error:
        if isinstance(error, BrokenFileError):
            raise
        raise BrokenFileError(reader.path, f'decord: {_plain(error)}') from error
    if np.abs(shown - shown[0] - reader.times).max() > 2e-3:  # a Matroska file counts in ms
        raise BrokenFileError(reader.path, 'decord gives the frames other times')
    found = dict(zip(wanted, frames))
    return [found[int(i)] for i in indices]
