"""Colour what a backbone makes of each cell of videos, by the principal components of its features.

    python tools/visualizations/features.py CONFIG CHECKPOINT VIDEO... --out features.png

Cells of like colours have like features, in all videos of one call: the components are fitted to them together. A row is one
map of the backbone (Video Swin has one for each stage). The suffix of --out says whether a picture (.png) or an animation
(.gif, .mp4) is written; it has all the videos.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for custom_imports=['plugins.x'] from anywhere

from tqdm import tqdm  # noqa: E402

from ssvideo.datasets.given_videos import GivenClips, find_videos  # noqa: E402
from ssvideo.engine.given_model import model_arguments, open_model  # noqa: E402
from ssvideo.visualization import pca_colours, save_strips, spread_cells, suffix_of, to_frames  # noqa: E402


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    model_arguments(parser)
    parser.add_argument('videos', nargs='+', help='videos, folders of videos, or lists with one path a line')
    parser.add_argument('--out', default='work_dirs/features.png', help='picture to write: .png, .gif or .mp4')
    parser.add_argument('--maps', type=int, nargs='+', help='numbers of maps, the finest is 0; default: all')
    parser.add_argument('--play-fps', type=float, default=4.0, help='frames per second of an animation')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> Path:
    """Draw.

    Returns:
        The picture.

    Raises:
        ValueError: for a config, a file, a map or a video that does not fit.
        FileNotFoundError: if there is no such file.
    """
    suffix_of(args.out)
    given = open_model(args)
    num_maps = len(given.model.backbone.channels)
    numbers = range(num_maps) if args.maps is None else args.maps
    if wrong := [number for number in numbers if not 0 <= number < num_maps]:
        raise ValueError(f'--maps: got {wrong}, expected 0 to {num_maps - 1}')
    clips, table, maps = GivenClips(find_videos(args.videos), given.read), {}, []
    for _, path, frames in tqdm(clips, total=len(clips.paths), desc='encoding', unit='video'):
        table[path] = [('frames', to_frames(frames))]
        maps.append([given.features(frames).maps[number][0] for number in numbers])
    for path, reason in clips.broken.items():
        print(f'cannot be read: {path}: {reason}', file=sys.stderr)
    if not table:
        raise ValueError(clips.why_none('there is no video to draw'))
    for number, same in zip(numbers, zip(*maps)):  # of all videos
        colours, shares = pca_colours(same)
        for row, cells in zip(table.values(), colours):
            name = f'map {number}' if num_maps > 1 else 'features'
            row.append((f'{name}, {sum(shares):.0%} of variance', spread_cells(cells, row[0][1].shape[:3])))
    return save_strips({Path(path).name if len(table) > 1 else '': row for path, row in table.items()}, args.out, args.play_fps,
                       f'features of {type(given.model.backbone).__name__} by principal components')


def main(argv: list[str] | None = None) -> None:
    """Draw, and say where the picture is, or in one line why there is none."""
    args = parse_args(argv)
    try:
        print(f'The picture is {run(args)}')
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
