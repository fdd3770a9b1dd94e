"""The file that holds an FSQ tokenizer: safetensors with architecture and levels in its metadata."""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from vector_quantize_pytorch import FSQ

from ssvideo.models.layers.peco_blocks import PecoDecoder, PecoEncoder
from ssvideo.models.tokenizers.tokenizer_file import (
    build_loaded,
    read_tokenizer_file,
    refuse_rest,
    take_part,
    write_tokenizer_file,
)

from .levels import build_quantizer

FORMAT = 'ssvideo.fsq/1'


def save_fsq(path: str | Path, architecture: Mapping, levels: Sequence[int], encoder: PecoEncoder,
             decoder: PecoDecoder) -> None:
    """Write a tokenizer file, whole or not at all.

    Args:
        path: the file to write, ``.safetensors``.
        architecture: the constructor's arguments that encoder and decoder share.
        levels: values that each channel of a code may take.
        encoder: pictures to features.
        decoder: codes to pictures.
    """
    tensors = {f'{name}.{key}': value for name, part in dict(encoder=encoder, decoder=decoder).items()
               for key, value in part.state_dict().items()}
    described = dict(architecture=json.dumps(dict(architecture)), levels=json.dumps(list(levels)))
    write_tokenizer_file(path, tensors, dict(format=FORMAT, **described))


def load_fsq(path: str | Path) -> tuple[PecoEncoder, PecoDecoder, FSQ]:
    """Read a tokenizer file strictly.

    Args:
        path: written by :func:`save_fsq`.

    Returns:
        The encoder, the decoder and the quantiser between them.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no FSQ file, is cut short, or its weights are not what its metadata says.
    """
    metadata, tensors = read_tokenizer_file(path, FORMAT)
    try:
        architecture, quantizer = json.loads(metadata['architecture']), build_quantizer(json.loads(metadata['levels']))
        encoder = build_loaded(PecoEncoder, architecture, take_part(tensors, 'encoder'), f'{path}: its encoder')
        decoder = build_loaded(PecoDecoder, architecture, take_part(tensors, 'decoder'), f'{path}: its decoder')
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f'{path}: the metadata does not describe its architecture: {error!r}') from error
    if architecture['code_dims'] != quantizer.dim:
        raise ValueError(f'{path}: codes of {architecture["code_dims"]} channels need as many levels, its metadata names '
                         f'{quantizer.dim}')
    refuse_rest(path, tensors)
    return encoder, decoder, quantizer
