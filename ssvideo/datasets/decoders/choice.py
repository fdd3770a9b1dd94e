"""Which decoder reads a file: the one that was asked for, where it is known to be right, else PyAV."""
from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from mmengine.logging import print_log

from ..checked_files import Stamp
from .decord import decord_frames, import_decord, why_not_decord
from .pyav import VideoReader
from .torchcodec import import_torchcodec, torchcodec_frames, why_not_torchcodec

OTHERS = {'decord': (import_decord, why_not_decord, decord_frames),
          'torchcodec': (import_torchcodec, why_not_torchcodec, torchcodec_frames)}
DECODERS = ('pyav', *OTHERS)
"""All that may be asked for."""

NEVER = Stamp()
"""Of a file that was not checked."""


def check_decoder(name: str) -> None:
    """See that a decoder exists and is installed.

    Raises:
        ValueError: if there is none of this name.
        ImportError: if it is not installed; the text says what to do.
    """
    if name not in DECODERS:
        raise ValueError(f'decoder must be one of {DECODERS}, got {name!r}')
    if name in OTHERS:
        OTHERS[name][0]()


def why_not(reader: VideoReader, decoder: str, checked: Stamp = NEVER) -> str | None:
    """The reason why a decoder other than PyAV must not read a file; None if it may, or if it is PyAV."""
    return (OTHERS[decoder][1](reader) or checked.why_not(reader.local_path)) if decoder in OTHERS else None


def read_frames(reader: VideoReader, indices: Sequence[int], decoder: str = 'pyav', checked: Stamp = NEVER) -> list[np.ndarray]:
    """Decode frames of an opened file, with PyAV wherever the decoder asked for may be wrong; the log says why, once.

    Args:
        reader: the file.
        indices: numbers of frames, in any order.
        decoder: one of ``DECODERS``.
        checked: what the file was when all of it was decoded. Decoders other than PyAV show damaged frames as if they
            were none, so they read only such files.

    Returns:
        A ``(H, W, 3)`` uint8 RGB array for each index.

    Raises:
        BrokenFileError: if a frame cannot be decoded.
    """
    reason = why_not(reader, decoder, checked)
    if reason is not None:
        _say_once(f'PyAV takes over from {decoder}: {reason}')
    if reason is not None or decoder == 'pyav':
        return reader.frames(indices)
    return OTHERS[decoder][2](reader, indices)


@functools.cache
def _say_once(text: str) -> None:
    print_log(text, logger='current')
