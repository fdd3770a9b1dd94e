"""The file that holds a PeCo tokenizer: safetensors with the architecture in its metadata."""
from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ..layers.peco_blocks import PecoDecoder, PecoEncoder
from .tokenizer_file import build_loaded, read_tokenizer_file, refuse_rest, take_part, write_tokenizer_file

FORMAT = 'ssvideo.peco/1'


def save_peco(path: str | Path, architecture: Mapping, encoder: PecoEncoder, decoder: PecoDecoder,
              codebook: Tensor) -> None:
    """Write a tokenizer file, whole or not at all.

    Args:
        path: the file to write, ``.safetensors``.
        architecture: the constructor's arguments that encoder and decoder share.
        encoder: pictures to features.
        decoder: codes to pictures.
        codebook: ``(vocab_size, C)``.
    """
    tensors = dict(codebook=codebook)
    for name, part in dict(encoder=encoder, decoder=decoder).items():
        tensors.update({f'{name}.{key}': value for key, value in part.state_dict().items()})
    write_tokenizer_file(path, tensors, dict(format=FORMAT, architecture=json.dumps(dict(architecture))))


def load_peco(path: str | Path) -> tuple[PecoEncoder, PecoDecoder, Tensor]:
    """Read a tokenizer file strictly.

    Args:
        path: written by :func:`save_peco`.

    Returns:
        The encoder, the decoder and the codebook ``(vocab_size, C)``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no PeCo file, is cut short, or its weights are not what its metadata says.
    """
    metadata, tensors = read_tokenizer_file(path, FORMAT)
    try:
        architecture = json.loads(metadata['architecture'])
        encoder = build_loaded(PecoEncoder, architecture, take_part(tensors, 'encoder'), f'{path}: its encoder')
        decoder = build_loaded(PecoDecoder, architecture, take_part(tensors, 'decoder'), f'{path}: its decoder')
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f'{path}: the metadata does not describe its architecture: {error!r}') from error
    codebook = tensors.pop('codebook', None)
    if codebook is None or codebook.ndim != 2 or codebook.shape[1] != architecture['code_dims']:
        raise ValueError(f'{path}: the codebook must be (vocab_size, {architecture["code_dims"]}), got '
                         f'{None if codebook is None else tuple(codebook.shape)}')
    refuse_rest(path, tensors)
    return encoder, decoder, codebook
