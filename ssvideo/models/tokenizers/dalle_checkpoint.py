"""The file that holds a DALL-E tokenizer: safetensors with the architecture in its metadata."""
from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from ..layers.dalle_blocks import NUM_GROUPS, DalleDecoder, DalleEncoder
from .tokenizer_file import build_loaded, read_tokenizer_file, refuse_rest, take_part, write_tokenizer_file

FORMAT = 'ssvideo.dalle/1'


def save_dalle(path: str | Path, encoder: DalleEncoder, decoder: DalleDecoder | None = None) -> None:
    """Write a tokenizer file, whole or not at all.

    Args:
        path: the file to write, ``.safetensors``.
        encoder: pictures to ids.
        decoder: ids to pictures; without it the tokenizer cannot decode.
    """
    parts = dict(encoder=encoder) if decoder is None else dict(encoder=encoder, decoder=decoder)
    tensors, metadata = {}, dict(format=FORMAT)
    for name, part in parts.items():
        metadata[name] = json.dumps(architecture_of(part.state_dict()))
        for key, value in part.state_dict().items():
            tensors[f'{name}.{key}'] = value
    write_tokenizer_file(path, tensors, metadata)


def load_dalle(path: str | Path) -> tuple[DalleEncoder, DalleDecoder | None]:
    """Read a tokenizer file strictly.

    Args:
        path: written by :func:`save_dalle`.

    Returns:
        The encoder, and the decoder where the file has one.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no tokenizer file, is cut short, or its weights are not what its metadata says.
    """
    metadata, tensors = read_tokenizer_file(path, FORMAT)
    encoder = _build(path, DalleEncoder, 'encoder', metadata, tensors)
    decoder = _build(path, DalleDecoder, 'decoder', metadata, tensors) if 'decoder' in metadata else None
    refuse_rest(path, tensors)
    return encoder, decoder


def from_published(state_dict: Mapping[str, Tensor]) -> DalleEncoder | DalleDecoder:
    """Build the encoder or the decoder that a state dict with OpenAI's names describes.

    Args:
        state_dict: ``blocks.group_1.block_1.res_path.conv_1.w`` and so on. Sizes are inferred from the weights.

    Returns:
        A :class:`DalleEncoder` if the input convolution reads three channels in 7 x 7, else a :class:`DalleDecoder`.

    Raises:
        ValueError: if a name is not of that architecture, or a weight is missing, extra or of another shape.
    """
    ours = {_our_name(name): value.float() for name, value in state_dict.items()}
    for name in ('stem.weight', 'head.weight', 'groups.0.0.convs.0.weight'):
        if name not in ours:
            raise ValueError(f'these are not the weights of a DALL-E encoder or decoder: {name} (our name) is missing; '
                             f'found {sorted(state_dict)[:4]}')
    sizes = architecture_of(ours)
    part = (DalleDecoder if 'input_dims' in sizes else DalleEncoder)
    return build_loaded(part, sizes, ours, f'the given {part.__name__}')


def architecture_of(state_dict: Mapping[str, Tensor]) -> dict[str, int]:
    """The constructor's arguments, inferred from the weights (our names) of an encoder or a decoder."""
    stem, head = state_dict['stem.weight'], state_dict['head.weight']
    num_blocks = 1 + max(int(name.split('.')[2]) for name in state_dict if name.startswith('groups.0.'))
    if tuple(stem.shape[1:]) == (3, 7, 7):
        return dict(hidden_dims=stem.shape[0], num_blocks=num_blocks, vocab_size=head.shape[0])
    return dict(hidden_dims=head.shape[1], num_blocks=num_blocks, vocab_size=stem.shape[1], input_dims=stem.shape[0])


_PUBLISHED = [
    (re.compile(r'blocks\.input\.([wb])'), 'stem.{0}'),
    (re.compile(r'blocks\.output\.conv\.([wb])'), 'head.{0}'),
    (re.compile(rf'blocks\.group_([1-{NUM_GROUPS}])\.block_([1-9]\d?)\.id_path\.([wb])'), 'groups.{0}.{1}.skip.{2}'),
    (re.compile(rf'blocks\.group_([1-{NUM_GROUPS}])\.block_([1-9]\d?)\.res_path\.conv_([1-4])\.([wb])'),
     'groups.{0}.{1}.convs.{2}.{3}'),
]


def _our_name(published: str) -> str:
    for pattern, name in _PUBLISHED:
        if match := pattern.fullmatch(published):
            *indices, kind = match.groups()
            return name.format(*(int(i) - 1 for i in indices), dict(w='weight', b='bias')[kind])
    raise ValueError(f'{published!r} is no weight of the DALL-E dVAE; expected names such as '
                     'blocks.group_1.block_1.res_path.conv_1.w')


def _build(path: str | Path, part: type[nn.Module], name: str, metadata: dict, tensors: dict[str, Tensor]) -> nn.Module:
    try:
        return build_loaded(part, json.loads(metadata[name]), take_part(tensors, name), f'{path}: its {name}')
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f'{path}: the metadata does not describe its {name}: {error!r}') from error
