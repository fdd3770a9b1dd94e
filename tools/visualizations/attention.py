"""Draw where a model looks in videos: the attention of [CLS], or of the cells of windows.

    python tools/visualizations/attention.py CONFIG CHECKPOINT VIDEO... --out attention.png

Each row is one module of the backbone, and one branch of it, as the mean over its heads. With VIMPAC's transformer it shows
how much [CLS] attends to each token; with Video Swin, which has no [CLS], how much each cell is attended to by those of its
window. --at draws the attention of one place instead. The suffix of --out says whether a picture
(.png) or an animation (.gif, .mp4) is written, for each video if there are several.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for custom_imports=['plugins.x'] from anywhere

import numpy as np  # noqa: E402
from tqdm import tqdm  # noqa: E402

from ssvideo.datasets.given_videos import GivenClips, find_videos  # noqa: E402
from ssvideo.engine.given_model import GivenModel, model_arguments, open_model  # noqa: E402
from ssvideo.visualization import attention_modules, heat, save_strips, suffix_of, to_frames, watch_attention  # noqa: E402


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    model_arguments(parser)
    parser.add_argument('videos', nargs='+', help='videos, folders of videos, or lists with one path a line')
    parser.add_argument('--out', default='work_dirs/attention.png', help='picture to write: .png, .gif or .mp4')
    parser.add_argument('--modules', type=int, nargs='+', default=[-2, -1],
                        help='numbers of attention modules in order; negative from the end')
    parser.add_argument('--at', type=float, nargs=3, metavar=('TIME', 'Y', 'X'),
                        help='draw the attention of the cell at this place, as shares from 0 to below 1')
    parser.add_argument('--heads', action='store_true', help='a row for each head')
    parser.add_argument('--play-fps', type=float, default=4.0, help='frames per second of an animation')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> list[Path]:
    """Draw.

    Returns:
        The pictures.

    Raises:
        ValueError: for a config, a file, a module or a video that does not fit.
        FileNotFoundError: if there is no such file.
    """
    suffix_of(args.out)
    given = open_model(args)
    modules = attention_modules(given.model.backbone)
    if wrong := [number for number in args.modules if not -len(modules) <= number < len(modules)]:
        names = ', '.join(f'{number} {name}' for number, name in enumerate(modules))
        raise ValueError(f'--modules: got {wrong}, but there are {names}')
    chosen = {name: modules[name] for name in dict.fromkeys(list(modules)[number] for number in args.modules)}
    clips, pictures = GivenClips(find_videos(args.videos), given.read), []
    for number, path, frames in tqdm(clips, total=len(clips.paths), desc='drawing', unit='video'):
        with watch_attention(chosen, tuple(args.at) if args.at else None) as found:
            given.features(frames)
        shown = to_frames(frames)
        rows = [(name, heat(shown, weights)) for one in found for name, weights in rows_of(one, args.heads)]
        out = Path(args.out)
        out = out if len(clips.paths) == 1 else out.with_name(f'{out.stem}_{number:03}{out.suffix}')
        pictures.append(save_strips({'': [('frames', shown), *rows]}, out, args.play_fps, title_of(given, path, args)))
    for path, reason in clips.broken.items():
        print(f'cannot be read: {path}: {reason}', file=sys.stderr)
    if not pictures:
        raise ValueError(clips.why_none('there is no video to draw'))
    return pictures


def rows_of(found, heads: bool) -> list[tuple[str, np.ndarray]]:
    """Caption and weights ``(t, h, w)`` of each row that a map gives."""
    weights = found.weights[0].float().cpu().numpy()  # (heads, t, h, w)
    name = found.name.replace('layers.', 'layer ').replace('.attentions.', ', block ').replace('.blocks.', ', block ')
    name = name.replace('.body', '')
    if heads:
        return [(f'{name}\nhead {number}', each) for number, each in enumerate(weights)]
    return [(name, weights.mean(0))]


def title_of(given: GivenModel, path: str, args: argparse.Namespace) -> str:
    """What the picture shows."""
    has_cls = given.model.backbone.reads == 'tokens'
    whose = f'attention of the cell at {tuple(args.at)}' if args.at else 'attention of [CLS]' if has_cls else 'attention received'
    return f'{Path(path).name}: {whose}'


def main(argv: list[str] | None = None) -> None:
    """Draw, and say where the pictures are, or in one line why there are none."""
    args = parse_args(argv)
    try:
        pictures = run(args)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
    print(f'From dark (none) to bright (most): {", ".join(map(str, pictures))}')


if __name__ == '__main__':
    main()
