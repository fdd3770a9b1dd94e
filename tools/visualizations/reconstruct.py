"""Show what a pre-trained model puts where it cannot see, on any video (VIMPAC, Fig. 5).

    python tools/visualizations/reconstruct.py CONFIG CHECKPOINT VIDEO... --out DIR --tokenizer FILE --fps 2

Each video gives a picture and an animation of four rows: its frames, these after the tokenizer alone, the masked area, and
the model's prediction; reconstruction.json has the numbers. A model that reads tokens from a store needs --tokenizer, the
one that made the store. Other masks: --cfg-options model.maskers.video.num_blocks=20.
"""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for custom_imports=['plugins.x'] from anywhere

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from tqdm import tqdm  # noqa: E402

from ssvideo.apis.reconstruct import Reconstruction, reconstruct_masked  # noqa: E402
from ssvideo.datasets.given_videos import GivenClips, find_videos  # noqa: E402
from ssvideo.engine.given_model import model_arguments, open_model  # noqa: E402
from ssvideo.models.pretrainer import Pretrainer  # noqa: E402
from ssvideo.utils.files import write_whole  # noqa: E402
from ssvideo.visualization import animate_rows, draw_reconstructions  # noqa: E402

PLAYED_FPS = 2.0
COLUMNS = dict(hidden='hidden', accuracy='right', copy_accuracy='by copying', psnr_hidden='PSNR hidden', psnr='PSNR whole')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    model_arguments(parser)
    parser.add_argument('videos', nargs='+', help='videos, folders of videos, or lists with one path a line')
    parser.add_argument('--out', default='work_dirs/reconstruct', help='folder of the results')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> dict:
    """Reconstruct, measure and draw.

    Returns:
        What goes to the JSON file.

    Raises:
        ValueError: for a config, a file or a video that does not fit.
        FileNotFoundError: if there is no such file.
    """
    given = open_model(args)
    if not isinstance(given.model, Pretrainer):
        raise ValueError(f'{args.config} trains a {type(given.model).__name__}, expected a Pretrainer: give one of pre-training')
    clips = GivenClips(find_videos(args.videos), given.read)
    measured = {}
    for number, path, frames in tqdm(clips, total=len(clips.paths), desc='reconstructing', unit='video'):
        found = reconstruct_masked(given.model, given.inputs(frames)).get(given.stream)
        if found is None:
            raise ValueError(f'no objective of the stream {given.stream!r} predicts tokens: there is nothing to draw')
        measured[path] = found.measure(0)
        draw(found, measured[path], Path(args.out) / f'{number:03}_{Path(path).stem}', title=Path(path).name)
    if not measured:
        raise ValueError(clips.why_none('there is no video to reconstruct'))
    mean = {name: sum(row[name] for row in measured.values()) / len(measured) for name in next(iter(measured.values()))}
    return dict(config=args.config, checkpoint=args.checkpoint, tokenizer=args.tokenizer, seed=args.seed, mean=mean,
                videos=measured, unreadable=clips.broken)


def draw(found: Reconstruction, numbers: dict[str, float], path: Path, title: str) -> None:
    """Write ``path.png``, some frames, and ``path.gif``, all of them."""
    rows = found.rows(0)
    right = f"{numbers['accuracy']:.0%} right, " if 'accuracy' in numbers else ''
    labels = {'masked area': f"masked area\n{numbers['hidden']:.0%}", 'model': f"model\n{right}{numbers['psnr_hidden']:.1f} dB"}
    rows = {labels.get(name, name): frames for name, frames in rows.items()}
    draw_reconstructions(rows, path.with_name(f'{path.name}.png'), title)
    animate_rows(rows, path.with_name(f'{path.name}.gif'), PLAYED_FPS, title)


def show(found: dict) -> None:
    """Print the numbers as a table, and the files that could not be read."""
    names = [name for name in COLUMNS if name in found['mean']]
    table = Table('video', *(COLUMNS[name] for name in names), title='prediction of hidden tokens')
    for video, numbers in (*found['videos'].items(), ('mean', found['mean'])):
        table.add_row(Path(video).name, *(f'{numbers[name]:.2f} dB' if name.startswith('psnr') else f'{numbers[name]:.1%}'
                                          for name in names))
    console = Console()
    console.print(table)
    for path, reason in found['unreadable'].items():
        console.print(f'cannot be read: {path}: {reason}', markup=False, highlight=False, soft_wrap=True)


def main(argv: list[str] | None = None) -> None:
    """Reconstruct, and say where the results are, or in one line why there are none."""
    args = parse_args(argv)
    try:
        found = run(args)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
    write_whole(Path(args.out) / 'reconstruction.json', json.dumps(found, indent=1))
    show(found)
    print(f'The numbers are in {args.out}/reconstruction.json, a picture and an animation of each video beside it')


if __name__ == '__main__':
    main()
