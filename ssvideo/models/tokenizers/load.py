"""A tokenizer from its file, whichever it is."""
from __future__ import annotations

from pathlib import Path

from ...registry import MODELS
from .base import Tokenizer
from .tokenizer_file import format_of


def load_tokenizer(path: str | Path, **arguments) -> Tokenizer:
    """Build the tokenizer that a file holds, in eval mode.

    Its class is the registered one that names the file's format as its ``file_format``; that of a plugin must be loaded,
    because a file says what it holds and never what to run.

    Args:
        path: ``.safetensors``, written by a trainer of a tokenizer or by ``tools/convert_checkpoint.py``.
        arguments: further arguments of the tokenizer's class, such as ``precision``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no tokenizer file, or of a kind that is not registered.
    """
    found = format_of(path)
    MODELS.import_from_location()
    readers = {part.file_format: part for part in MODELS.module_dict.values()
               if isinstance(part, type) and issubclass(part, Tokenizer) and part.file_format is not None}
    if found not in readers:
        raise ValueError(f'{path} is not a tokenizer file that is known here: its metadata says format={found!r}, expected one '
                         f'of {sorted(readers)}. Convert published weights with "tools/convert_checkpoint.py dalle"; load the '
                         'plugin of another tokenizer first: --plugin DIR, or an import')
    return readers[found](path, **arguments)
