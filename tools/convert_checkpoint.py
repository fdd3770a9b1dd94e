"""Convert published weights, or a training's, to the files this project reads. Nothing in a weights file is executed.

    python tools/convert_checkpoint.py dalle encoder.pkl --decoder decoder.pkl dalle.safetensors
    python tools/convert_checkpoint.py vimpac classifier.pt vimpac.safetensors --num-heads 16 --layout 'T,H|W'
    python tools/convert_checkpoint.py checkpoint CONFIG work_dirs/RUN/epoch_90.pth mine.safetensors

What vimpac and checkpoint write, ssvideo.apis.load_pretrained builds and loads; load_from and init_cfg take it, too.
"""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch  # noqa: E402
from mmengine.config import Config  # noqa: E402

from ssvideo.models.layers.dalle_blocks import DalleDecoder, DalleEncoder  # noqa: E402
from ssvideo.models.tokenizers.dalle_checkpoint import from_published, save_dalle  # noqa: E402
from ssvideo.utils.convert_vimpac import vimpac_model  # noqa: E402
from ssvideo.utils.dalle_pickle import read_dalle_module  # noqa: E402
from ssvideo.utils.foreign_weights import read_weights  # noqa: E402
from ssvideo.utils.model_file import ModelFile, source_of  # noqa: E402


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
    found = from_published(read_dalle(path))
    if not isinstance(found, part):
        raise ValueError(f'{path} holds a {type(found).__name__}, expected a {part.__name__}')
    return found


def read_dalle(path: str) -> dict[str, torch.Tensor]:
    """A state dict with OpenAI's names."""
    if not path.endswith(('.safetensors', '.pth', '.pt')):
        return read_dalle_module(path)
    try:
        return read_weights(path).tensors
    except ValueError as error:
        raise ValueError(f'{error}. A pickled module, as OpenAI publishes, must end in .pkl') from error


def convert_vimpac(args: argparse.Namespace) -> None:
    """The authors' VIMPAC, pre-trained or fine-tuned, to a model file."""
    save_model(args, vimpac_model(read_weights(args.source), args.num_heads, args.layout))


def convert_trained(args: argparse.Namespace) -> None:
    """A checkpoint of a training and its config to a model file."""
    cfg = Config.fromfile(args.config)
    if 'model' not in cfg:
        raise ValueError(f'{args.config} has no model')
    config = without_init(cfg.model.to_dict())
    weights = read_weights(args.source)
    save_model(args, ModelFile(config, weights.tensors, source_of(weights.path, [f'config: {Path(args.config).name}'])))


def without_init(config):
    """A config without ``init_cfg``: the file to be written holds the weights itself."""
    if isinstance(config, dict):
        return {key: without_init(value) for key, value in config.items() if key != 'init_cfg'}
    return [without_init(value) for value in config] if isinstance(config, (list, tuple)) else config


def save_model(args: argparse.Namespace, model: ModelFile) -> None:
    """Write a model file and say what it is."""
    model.save(args.out)
    print(f'wrote {args.out} from {args.source}, {len(model.weights)} weights')
    for note in model.source['notes']:
        print(f'  {note}')
    for word, value in model.config.items():
        print(f'  {word}: {json.dumps(value)}')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """One sub-command per kind of file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(required=True, metavar='KIND')
    dalle = kinds.add_parser('dalle', help="OpenAI's dVAE: pickled modules, or their state dicts (.pth, .safetensors)")
    dalle.add_argument('encoder')
    dalle.add_argument('out', help='the tokenizer file to write, .safetensors')
    dalle.add_argument('--decoder', help='needed to turn tokens back into pictures')
    dalle.set_defaults(convert=convert_dalle)
    vimpac = kinds.add_parser('vimpac', help="the authors' VIMPAC (classifier.pt), pre-trained or fine-tuned")
    vimpac.add_argument('source', help='a saved state dict, or safetensors')
    vimpac.add_argument('out', help='the model file to write, .safetensors')
    vimpac.add_argument('--num-heads', type=int, help='heads of each attention block, all branches together; used where '
                        'the source does not say; else assumed to be width / 64')
    vimpac.add_argument('--layout', help="such as 'T,H|W', which is assumed where neither the source nor this says")
    vimpac.set_defaults(convert=convert_vimpac)
    trained = kinds.add_parser('checkpoint', help='a checkpoint of a training of this package')
    trained.add_argument('config', help='the config it was trained with')
    trained.add_argument('source', help='the checkpoint, .pth')
    trained.add_argument('out', help='the model file to write, .safetensors')
    trained.set_defaults(convert=convert_trained)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Convert, or say in one line why not."""
    args = parse_args(argv)
    try:
        args.convert(args)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
