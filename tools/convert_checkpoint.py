"""Convert published weights to the files this project reads.

    python tools/convert_checkpoint.py dalle encoder.pkl --decoder decoder.pkl dalle.safetensors
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from ssvideo.models.layers.dalle_blocks import DalleDecoder, DalleEncoder  # noqa: E402
from ssvideo.models.tokenizers.dalle_checkpoint import from_published, save_dalle  # noqa: E402
from ssvideo.utils.dalle_pickle import read_dalle_module  # noqa: E402


def convert_dalle(args: argparse.Namespace) -> None:
    """OpenAI's dVAE to one tokenizer file."""
    encoder = read_part(args.encoder, DalleEncoder)
    decoder = read_part(args.decoder, DalleDecoder) if args.decoder else None
    if decoder is not None and decoder.stem.in_channels != encoder.head.out_channels:
        raise ValueError(f'{args.encoder} knows {encoder.head.out_channels} ids and {args.decoder} '
                         f'{decoder.stem.in_channels}: they do not belong together')
    save_dalle(args.out, encoder, decoder)
    print(f'wrote {args.out}: {encoder.head.out_channels} ids, {"with" if decoder else "without"} a decoder')


def read_part(path: str, part: type[torch.nn.Module]) -> torch.nn.Module:
    """Read an encoder or a decoder from a pickled module, a ``.pth`` state dict or a safetensors file."""
    if not Path(path).is_file():
        raise ValueError(f'there is no file {path}')
    found = from_published(read_weights(path))
    if not isinstance(found, part):
        raise ValueError(f'{path} holds a {type(found).__name__}, expected a {part.__name__}')
    return found


def read_weights(path: str) -> dict[str, torch.Tensor]:
    """A state dict with OpenAI's names, read without executing anything the file names."""
    if path.endswith('.safetensors'):
        return load_file(path)
    if path.endswith(('.pth', '.pt')):
        try:
            weights = torch.load(path, map_location='cpu', weights_only=True)
        except Exception as error:  # torch raises errors of many types for broken files
            raise ValueError(f'{path} is no plain state dict. A pickled module, as OpenAI publishes, must end in .pkl. '
                             f'({str(error).splitlines()[0]})') from error
        return weights.get('state_dict', weights)
    return read_dalle_module(path)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """One sub-command per kind of file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(required=True, metavar='KIND')
    dalle = kinds.add_parser('dalle', help="OpenAI's dVAE: pickled modules, or their state dicts (.pth, .safetensors)")
    dalle.add_argument('encoder')
    dalle.add_argument('out', help='the tokenizer file to write, .safetensors')
    dalle.add_argument('--decoder', help='needed to turn tokens back into pictures')
    dalle.set_defaults(convert=convert_dalle)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Convert, or say in one line why not."""
    args = parse_args(argv)
    try:
        args.convert(args)
    except ValueError as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
