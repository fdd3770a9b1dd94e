"""Find the videos of a list that are most like others, by the cosine of their features.

    python tools/visualizations/retrieval.py CONFIG CHECKPOINT BANK [--queries LIST] --out retrieval.png

Each row shows a query and its nearest neighbours in BANK. Without --queries each video of BANK is one; a video is never its
own neighbour. Where both lists have labels, the share of queries with a video of their class among the k nearest is printed
(recall@k). retrieval.json beside the picture has the neighbours of every query. The suffix of --out says whether a picture
(.png) or an animation (.gif, .mp4) is written.
"""
from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for custom_imports=['plugins.x'] from anywhere

import numpy as np  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from ssvideo.engine.encoded_list import EncodedList, encode_list, list_arguments  # noqa: E402
from ssvideo.engine.given_model import GivenModel, model_arguments, open_model  # noqa: E402
from ssvideo.evaluation.retrieval import nearest, recall_at  # noqa: E402
from ssvideo.utils.files import write_whole  # noqa: E402
from ssvideo.visualization import save_panels, suffix_of, to_frames  # noqa: E402


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    model_arguments(parser)
    parser.add_argument('bank', help='list or folder of the videos to be found')
    parser.add_argument('--queries', help='list or folder of the videos to find others like; default: those of the bank')
    list_arguments(parser)
    parser.add_argument('--k', type=int, default=5, help='neighbours that are drawn')
    parser.add_argument('--recall', type=int, nargs='+', default=[1, 5, 10, 20], help='numbers of neighbours to report')
    parser.add_argument('--num-pictures', type=int, default=8, help='queries that are drawn; the numbers are of all')
    parser.add_argument('--out', default='work_dirs/retrieval.png', help='picture to write: .png, .gif or .mp4')
    parser.add_argument('--play-fps', type=float, default=4.0, help='frames per second of an animation')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> dict:
    """Encode, search, draw.

    Returns:
        What goes to the JSON file.

    Raises:
        ValueError: for a config, a file or a list that does not fit.
        FileNotFoundError: if there is no such file.
    """
    suffix_of(args.out)
    given = open_model(args)
    bank = encode_list(given, args.bank, args)
    queries = bank if args.queries is None else encode_list(given, args.queries, args)
    places = {os.path.realpath(path): place for place, path in enumerate(bank.paths)}
    itself = [places.get(os.path.realpath(path)) for path in queries.paths]
    others = len(bank.paths) - any(place is not None for place in itself)
    recall = sorted(k for k in args.recall if k <= others)
    cosines, found = nearest(queries.features, bank.features, max([args.k, *recall]), itself)
    numbers = {}
    if bank.labels is not None and queries.labels is not None and recall:
        numbers = recall_at(bank.labels[found], queries.labels, recall)
    neighbours = {path: [dict(path=bank.paths[place], cosine=cosine) for place, cosine in zip(row, values)]
                  for path, row, values in zip(queries.paths, found[:, :args.k].tolist(), cosines.tolist())}
    draw(given, queries, bank, found[:args.num_pictures, :args.k].tolist(), cosines.tolist(), args)
    return dict(config=args.config, checkpoint=args.checkpoint, pool=args.pool, num_queries=len(queries.paths),
                num_bank=len(bank.paths), **numbers, neighbours=neighbours, unreadable=bank.broken | queries.broken)


def draw(given: GivenModel, queries: EncodedList, bank: EncodedList, found: list[list[int]], cosines: list[list[float]],
         args: argparse.Namespace) -> None:
    """Draw a row for each query: the query, then its neighbours."""
    table = {}
    for number, (row, values) in enumerate(zip(found, cosines)):
        pictures = [(f'query\n{caption(queries, number)}', clip(given, queries.paths[number]))]
        pictures += [(f'{value:.3f}\n{caption(bank, place)}', clip(given, bank.paths[place]))
                     for place, value in zip(row, values)]
        table[f'{number + 1}'] = pictures
    save_panels(table, args.out, args.play_fps, 'queries and their nearest neighbours, with cosines')


def clip(given: GivenModel, path: str) -> np.ndarray:
    """The frames that were encoded."""
    return to_frames(given.read(path))


def caption(videos: EncodedList, place: int, width: int = 22) -> str:
    """The class of a video, or else the end of its name."""
    if videos.labels is None:
        return Path(videos.paths[place]).name[-width:]
    label = int(videos.labels[place])
    name = videos.class_names[label] if label < len(videos.class_names) else f'class {label}'
    return name if len(name) <= width else f'{name[:width - 3]}...'


def show(found: dict) -> None:
    """Print the numbers as a table, and the files that could not be read."""
    console = Console()
    numbers = {name: value for name, value in found.items() if name.startswith('recall@')}
    if numbers:
        table = Table(*numbers, title=f"{found['num_queries']} queries among {found['num_bank']} videos")
        table.add_row(*(f'{value:.1%}' for value in numbers.values()))
        console.print(table)
    for path, reason in found['unreadable'].items():
        console.print(f'cannot be read: {path}: {reason}', markup=False, highlight=False, soft_wrap=True)


def main(argv: list[str] | None = None) -> None:
    """Search, and say where the results are, or in one line why there are none."""
    args = parse_args(argv)
    try:
        found = run(args)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
    numbers = Path(args.out).with_suffix('.json')
    write_whole(numbers, json.dumps(found, indent=1))
    show(found)
    print(f'The picture is {args.out}, the neighbours are in {numbers}')


if __name__ == '__main__':
    main()
