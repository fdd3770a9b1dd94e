"""A tokenizer from its file, whichever it is."""
from __future__ import annotations

from pathlib import Path

from . import dalle_checkpoint, peco_checkpoint
from .dalle import DalleTokenizer
from .frame_tokenizer import FrameTokenizer
from .peco import PecoTokenizer
from .tokenizer_file import format_of

READERS: dict[str, type[FrameTokenizer]] = {
    dalle_checkpoint.FORMAT: DalleTokenizer,
    peco_checkpoint.FORMAT: PecoTokenizer}


def load_tokenizer(path: str | Path, **arguments) -> FrameTokenizer:
    """Build the tokenizer that a file holds, in eval mode.

    Args:
        path: ``.safetensors``, written by a trainer of this package or by ``tools/convert_checkpoint.py``.
        arguments: further arguments of the tokenizer's class, such as ``precision``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no tokenizer file.
    """
    found = format_of(path)
    if found not in READERS:
        raise ValueError(f'{path} is not a tokenizer file: its metadata says format={found!r}, expected one of '
                         f'{sorted(READERS)}. Convert published weights with "tools/convert_checkpoint.py dalle"')
    return READERS[found](path, **arguments)
