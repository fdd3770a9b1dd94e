"""Convert published weights, or a training's, to the files this project reads. Nothing in a weights file is executed.

    python tools/convert_checkpoint.py dalle encoder.pkl --decoder decoder.pkl dalle.safetensors
    python tools/convert_checkpoint.py vimpac classifier.pt vimpac.safetensors --num-heads 16 --layout 'T,H|W'
    python tools/convert_checkpoint.py bevt swin_base_bevt.pth bevt.safetensors
    python tools/convert_checkpoint.py swin2d swin_base_patch4_window7_224.pth swin_b.safetensors
    python tools/convert_checkpoint.py checkpoint CONFIG work_dirs/RUN/epoch_90.pth mine.safetensors
    python tools/convert_checkpoint.py mmaction mine.safetensors for_mmaction2.pth

What vimpac, bevt, swin2d and checkpoint write, ssvideo.apis.load_pretrained builds and loads; load_from takes it, too,
and so does a backbone's init_cfg=dict(type='Pretrained', checkpoint=OUT, prefix='backbone.').
"""
from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch  # noqa: E402

from ssvideo.models.layers.dalle_blocks import DalleDecoder, DalleEncoder  # noqa: E402
from ssvideo.models.tokenizers.dalle_checkpoint import from_published, save_dalle  # noqa: E402
from ssvideo.utils.convert_bevt import bevt_model  # noqa: E402
from ssvideo.utils.convert_swin_2d import read_swin_2d, swin_2d_model  # noqa: E402
from ssvideo.utils.convert_vimpac import vimpac_model  # noqa: E402
from ssvideo.utils.dalle_pickle import read_dalle_module  # noqa: E402
from ssvideo.utils.export_mmaction import mmaction_model  # noqa: E402
from ssvideo.utils.exported_folder import read_model  # noqa: E402
from ssvideo.utils.files import write_whole  # noqa: E402
from ssvideo.utils.foreign_weights import read_weights  # noqa: E402
from ssvideo.utils.model_file import ModelFile  # noqa: E402
from ssvideo.utils.plugins import plugin_argument, use_plugins  # noqa: E402
from ssvideo.utils.trained_model import trained_model  # noqa: E402


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


def convert_bevt(args: argparse.Namespace) -> None:
    """The authors' BEVT, pre-trained or fine-tuned, to a model file."""
    save_model(args, bevt_model(read_weights(args.source), args.window))


def convert_swin_2d(args: argparse.Namespace) -> None:
    """An image model to a model file."""
    save_model(args, swin_2d_model(read_swin_2d(args.source)))


def convert_trained(args: argparse.Namespace) -> None:
    """A checkpoint of a training and its config to a model file."""
    use_plugins(args.plugin)
    save_model(args, trained_model(args.config, args.source))


def export_mmaction(args: argparse.Namespace) -> None:
    """A fine-tuned model to a checkpoint of mmaction2."""
    if not args.out.endswith('.pth'):
        raise ValueError(f'mmaction2 reads checkpoints that end in .pth, got {args.out}')
    use_plugins(args.plugin)
    file = trained_model(args.config, args.source) if args.config else read_model(args.source)
    model = mmaction_model(file)
    buffer = io.BytesIO()
    torch.save(dict(state_dict=model.weights), buffer)
    write_whole(args.out, buffer.getvalue())
    print(f'wrote {args.out} from {args.source}, {len(model.weights)} weights and buffers')
    if model.stock_config:
        options = f' --cfg-options {" ".join(model.options)}' if model.options else ''
        print(f"  test it with mmaction2's config {model.stock_config}{options}")
    print(f'  model: {json.dumps(model.config)}')


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
    vimpac = add_kind(kinds, 'vimpac', convert_vimpac, "the authors' VIMPAC (classifier.pt), pre-trained or fine-tuned")
    vimpac.add_argument('--num-heads', type=int, help='heads of each attention block, all branches together; used '
                        'where the source does not say; else assumed to be width / 64')
    vimpac.add_argument('--layout', help="such as 'T,H|W', which is assumed where neither the source nor this says")
    bevt = add_kind(kinds, 'bevt', convert_bevt, "the authors' BEVT: pre-trained with its decoder, the encoder alone, "
                    "or fine-tuned; Video Swin of mmaction2, too")
    bevt.add_argument('--window', type=int, nargs=3, metavar=('T', 'H', 'W'),
                      help='window of the blocks, where the size of their bias tables leaves a choice')
    add_kind(kinds, 'swin2d', convert_swin_2d, "an image model: Microsoft's Swin, timm's, MoBY, BEVT's image stage")
    trained = kinds.add_parser('checkpoint', help='a checkpoint of a training of this package')
    trained.add_argument('config', help='the config it was trained with')
    trained.add_argument('source', help='the checkpoint, .pth')
    trained.add_argument('out', help='the model file to write, .safetensors')
    plugin_argument(trained)
    trained.set_defaults(convert=convert_trained)
    mmaction = kinds.add_parser('mmaction', help='the other way: a fine-tuned VideoSwin to a checkpoint for mmaction2')
    mmaction.add_argument('source', help='a model file (.safetensors), a folder of tools/export.py, or with --config the '
                          'checkpoint of a training')
    mmaction.add_argument('out', help='the checkpoint to write, .pth')
    mmaction.add_argument('--config', help='the config that the checkpoint was trained with')
    plugin_argument(mmaction)
    mmaction.set_defaults(convert=export_mmaction)
    return parser.parse_args(argv)


def add_kind(kinds, name: str, convert: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
    """A sub-command for published weights: SOURCE and OUT."""
    parser = kinds.add_parser(name, help=text)
    parser.add_argument('source', help='a checkpoint or a saved state dict, of torch or safetensors')
    parser.add_argument('out', help='the model file to write, .safetensors')
    parser.set_defaults(convert=convert)
    return parser


def main(argv: list[str] | None = None) -> None:
    """Convert, or say in one line why not."""
    args = parse_args(argv)
    try:
        args.convert(args)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
