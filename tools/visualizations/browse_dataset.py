"""Show what a model really sees: the clips of a config's loader, their views, tokens and masks.

    python tools/visualizations/browse_dataset.py CONFIG --out browse.png
    python tools/visualizations/browse_dataset.py CONFIG --loader test --num 2 --out browse.gif
    python tools/visualizations/browse_dataset.py CONFIG --strip --out strip.png

Samples are those that the first of the training's processes draws in the given iteration, with the masks of that step, if the
number of processes is one: the loop's own sampler and seeds are used. --strip shows equally spaced frames of the whole
videos with their labels instead (VIMPAC, Fig. 3). The suffix of --out says whether a picture (.png) or an animation (.gif,
.mp4) is written; each stream has one.

Grey covers what is hidden. Of noisy masking, orange covers tokens that are replaced by random ones, blue those that are kept
but have to be predicted. Each token id has a colour.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for custom_imports=['plugins.x'] from anywhere

from mmengine.config import DictAction  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402

from ssvideo.datasets.broken import BrokenFileError  # noqa: E402
from ssvideo.engine.browse import Browser  # noqa: E402
from ssvideo.engine.launch import given_config  # noqa: E402
from ssvideo.engine.loaded_batch import LOADERS  # noqa: E402
from ssvideo.utils.plugins import plugin_argument  # noqa: E402
from ssvideo.visualization import save_strips, suffix_of  # noqa: E402


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of pre-training, fine-tuning or a tokenizer')
    parser.add_argument('--loader', choices=LOADERS, default='train')
    parser.add_argument('--iteration', type=int, default=0, help='whose batch, counted from 0')
    parser.add_argument('--num', type=int, default=3, help='samples of the batch that are drawn')
    parser.add_argument('--num-frames', type=int, default=8, help='frames of a strip')
    parser.add_argument('--strip', action='store_true', help='frames of the whole videos, with their labels')
    parser.add_argument('--tokenizer', help='tokenizer file, which decodes tokens of a store')
    parser.add_argument('--seed', type=int, help='of the run; default: the one in the config')
    parser.add_argument('--out', help='picture to write: .png, .gif or .mp4; default: work_dirs/browse/<config>.png')
    parser.add_argument('--play-fps', type=float, default=4.0, help='frames per second of an animation')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={},
                        help='override the config: key=value, nested keys with dots')
    plugin_argument(parser)
    args = parser.parse_args(argv)
    if args.iteration < 0 or args.num < 1 or args.num_frames < 1:
        parser.error('--iteration counts from 0, --num and --num-frames from 1')
    return args


def run(args: argparse.Namespace) -> list[Path]:
    """Load and draw.

    Returns:
        The pictures, one for each stream.

    Raises:
        ValueError: for a config that does not fit.
        FileNotFoundError: if there is no such file.
        BrokenFileError: for a file that cannot be read, where the data set does not take another.
    """
    out = Path(args.out or f'work_dirs/browse/{Path(args.config).stem}.png')
    suffix_of(out)
    cfg = given_config(args.config, args.cfg_options, args.plugin)
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    if args.seed is not None:
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=args.seed)
    browser, pictures = Browser(cfg, args.loader, args.tokenizer), []
    for stream in browser.loaders:
        if args.strip:
            table, what = browser.strips(stream, args.iteration, args.num, args.num_frames), 'whole videos'
        else:
            table, what = browser.samples(stream, args.iteration, args.num), f'iteration {args.iteration}'
        path = out if len(browser.loaders) == 1 else out.with_name(f'{out.stem}_{stream}{out.suffix}')
        title = ', '.join(dict.fromkeys([Path(args.config).stem, args.loader, stream, what]))
        pictures.append(save_strips(table, path, args.play_fps, title, args.num_frames))
    return pictures


def main(argv: list[str] | None = None) -> None:
    """Draw, and say where the pictures are, or in one line why there are none."""
    args = parse_args(argv)
    try:
        pictures = run(args)
    except (ValueError, FileNotFoundError, BrokenFileError) as error:
        sys.exit(f'error: {error}')
    print(f'What the model sees is in {", ".join(map(str, pictures))}')


if __name__ == '__main__':
    main()
