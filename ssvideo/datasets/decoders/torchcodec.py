"""torchcodec, for the files on which it is known to be right."""
from __future__ import annotations

import functools
import re
from collections.abc import Sequence

import numpy as np

from ..broken import BrokenFileError
from .pyav import VideoReader

MOV, MATROSKA = 'mov,mp4,m4a,3gp,3g2,mj2', 'matroska,webm'
TRUSTED = {(MOV, 'h264'), (MOV, 'hevc'), (MATROSKA, 'h264'), (MATROSKA, 'hevc'), (MATROSKA, 'vp8'), (MATROSKA, 'vp9')}
"""Container and codec for which torchcodec's exact mode was found right. It fails on the last frames of AVI and MPEG
streams."""


def why_not_torchcodec(reader: VideoReader) -> str | None:
    """The reason why torchcodec must not read this file; None if it may."""
    if (reader.container, reader.codec) not in TRUSTED:
        return f'it fails, or was never proved right, for {reader.codec} in {reader.container}'
    if reader.pixel_format not in ('yuv420p', 'yuvj420p'):
        return f'it makes other colours of {reader.pixel_format}'
    if reader.width % 2 or reader.height % 2:
        return 'it makes other colours where a side is odd'
    if not reader.seekable:
        return "the file's index cannot be relied on"
    if reader.codec == 'h264' and not reader.keys_are_idr:
        return 'it returns wrong frames where key frames are not IDR (intra refresh)'
    return None


@functools.cache
def import_torchcodec():
    """torchcodec's decoders: an optional package, which needs FFmpeg's libraries.

    Raises:
        ImportError: that says what to install.
    """
    try:
        from torchcodec import decoders
    except (ImportError, OSError, RuntimeError) as error:  # RuntimeError: no FFmpeg, or one for another torch
        raise ImportError("decoder='torchcodec' needs the package torchcodec, built for this torch, and FFmpeg's shared "
                          "libraries (pip install torchcodec; apt install ffmpeg); or say decoder='pyav'. It said: "
                          f'{str(error).strip().splitlines()[0]}') from error
    return decoders


def torchcodec_frames(reader: VideoReader, indices: Sequence[int]) -> list[np.ndarray]:
    """Read frames with torchcodec, which must agree about their number, and about the times of those asked for.

    Args:
        reader: the opened file, for which ``why_not_torchcodec`` returned None.
        indices: numbers of frames, in any order.

    Returns:
        A ``(H, W, 3)`` uint8 RGB array for each index.

    Raises:
        BrokenFileError: if torchcodec fails, or counts or times the frames otherwise.
    """
    decoders = import_torchcodec()
    wanted = sorted(set(map(int, indices)))
    try:
        video = decoders.VideoDecoder(reader.local_path, stream_index=reader.stream_index, dimension_order='NHWC',
                                      num_ffmpeg_threads=1, seek_mode='exact')
        if len(video) != reader.num_frames:
            raise BrokenFileError(reader.path, f'torchcodec finds {len(video)} frames of {reader.num_frames}')
        read = video.get_frames_at(wanted)
    except (RuntimeError, ValueError, IndexError) as error:
        if isinstance(error, BrokenFileError):
            raise
        said = re.sub(r'^.*\.cpp:\d+, ', '', str(error).strip().splitlines()[0])  # the place in its source
        raise BrokenFileError(reader.path, f'torchcodec: {said}') from error
    shown = read.pts_seconds.numpy() - reader.first_time
    if np.abs(shown - reader.times[wanted]).max() > 1e-4:
        raise BrokenFileError(reader.path, 'torchcodec gives the frames other times')
    found = dict(zip(wanted, read.data.numpy()))
    return [found[int(i)] for i in indices]
