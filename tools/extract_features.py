"""Features of any videos, a file for each.

    python tools/extract_features.py bevt.safetensors MY_VIDEOS --out DIR --frames 16 --fps 8 --size 224
    python tools/extract_features.py configs/quickstart/vimpac.py CHECKPOINT MY_VIDEOS --out DIR --tokenizer FILE --fps 8

The model is a file that load_pretrained reads, or a config followed by a checkpoint. Videos are files, folders, or lists with
one path a line. They are cut into windows, which follow on each other or start every --stride seconds; each gives a vector,
with --tokens also the last map. DIR/<path of the video>.safetensors holds "starts" in seconds, "summary" (windows, C) and
"tokens" (windows, t, h, w, C). A run that was stopped goes on where it was; torchrun shares the work out.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for custom_imports=['plugins.x'] from anywhere

import torch  # noqa: E402
from mmengine.config import DictAction  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from tqdm import tqdm  # noqa: E402

from ssvideo.apis import load_pretrained  # noqa: E402
from ssvideo.apis.extract_features import window_of  # noqa: E402
from ssvideo.datasets.given_videos import find_videos  # noqa: E402
from ssvideo.engine.feature_extraction import KINDS, FeatureExtraction  # noqa: E402
from ssvideo.engine.launch import given_config  # noqa: E402
from ssvideo.engine.team import Team  # noqa: E402
from ssvideo.models.frozen_encoder import FrozenEncoder, build_encoder  # noqa: E402
from ssvideo.models.tokenizers import load_tokenizer  # noqa: E402
from ssvideo.utils.checksum import checksum_of  # noqa: E402
from ssvideo.utils.plugins import plugin_argument, use_plugins  # noqa: E402


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line; ``checkpoint`` is None where the model is one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('model', help='model file (.safetensors); or a config (.py), and its checkpoint as the next word')
    parser.add_argument('videos', nargs='+', help='videos, folders of videos, or lists with one path a line')
    parser.add_argument('--out', required=True, help='folder of the features')
    parser.add_argument('--frames', type=int, help='frames of a window; known where the model reads tokens')
    parser.add_argument('--fps', type=float, help='frames per second')
    parser.add_argument('--size', type=int, help='height and width of the view; known where the model reads tokens')
    parser.add_argument('--stride', type=float, help='seconds from window to window; default: they follow on each other')
    parser.add_argument('--tokens', action='store_true', help='write the last map, too')
    parser.add_argument('--format', choices=KINDS, default=KINDS[0])
    parser.add_argument('--precision', choices=['float32', 'float16'], default='float32', help='of the files')
    parser.add_argument('--tokenizer', help='tokenizer file, for a model that reads tokens')
    parser.add_argument('--batch-size', type=int, default=8, help='windows encoded at once')
    parser.add_argument('--workers', type=int, default=2, help='processes that decode, for each process that encodes')
    parser.add_argument('--device', help='default: the GPU of the process, or the CPU where there is none')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={},
                        help='override the config: key=value, nested keys with dots')
    plugin_argument(parser)
    args = parser.parse_args(argv)
    args.checkpoint = None
    if args.model.endswith('.py'):
        args.checkpoint, *args.videos = args.videos
        if not args.videos:
            parser.error('after a config come its checkpoint and the videos')
    elif args.cfg_options:
        parser.error('--cfg-options is for a config')
    return args


def encoder_of(args: argparse.Namespace) -> FrozenEncoder:
    """The model of the command line.

    Raises:
        ValueError: if the files do not fit.
        FileNotFoundError: if there is no such file.
    """
    if args.checkpoint is None:
        use_plugins(args.plugin)
        return FrozenEncoder.of(load_pretrained(args.model), load_tokenizer(args.tokenizer) if args.tokenizer else None)
    cfg = given_config(args.model, args.cfg_options, args.plugin)
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    return build_encoder(cfg.model, args.checkpoint, args.tokenizer)


def extract(args: argparse.Namespace, team: Team) -> str:
    """Write the features.

    Returns:
        What was done, in one line; '' for all processes but the first.

    Raises:
        ValueError: for a model, a window or videos that do not fit.
        FileNotFoundError: if there is no such file.
    """
    device = torch.device(args.device or (f'cuda:{team.local_rank}' if torch.cuda.is_available() else 'cpu'))
    encoder = encoder_of(args).to(device)
    window = window_of(encoder, args.frames, args.fps, args.size, args.stride)
    about = dict(backbone=checksum_of(encoder.backbone),
                 tokenizer=None if encoder.tokenizer is None else checksum_of(encoder.tokenizer))
    extraction = FeatureExtraction(encoder, find_videos(args.videos), Path(args.out), window, about, team, args.format,
                                   args.tokens, args.precision)
    num_stored = extraction.num_videos - len(extraction.todo)
    with tqdm(total=extraction.num_videos, initial=num_stored, desc='encoding', unit='video', disable=team.rank != 0,
              mininterval=0.2 if sys.stderr.isatty() else 30) as bar:
        return extraction.run(args.batch_size, args.workers, lambda done: bar.update(num_stored + done - bar.n))


def main(argv: list[str] | None = None) -> None:
    """Extract, and say where the results are, or in one line why there are none."""
    args = parse_args(argv)
    team = Team()
    try:
        if done := extract(args, team):
            print(done)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
    team.leave()


if __name__ == '__main__':
    main()
