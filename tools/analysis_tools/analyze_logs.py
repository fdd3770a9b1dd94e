"""What runs logged, as one picture and a table: the health of a training, or any figures by name.

    python tools/analysis_tools/analyze_logs.py work_dirs/bevt_swin_b work_dirs/vimpac_small
    python tools/analysis_tools/analyze_logs.py work_dirs/tokenizer work_dirs/peco_small --keys psnr 'codebook_*'
    python tools/analysis_tools/analyze_logs.py work_dirs/vimpac_small --list
"""
from __future__ import annotations

import argparse
import math
import sys
from fnmatch import fnmatchcase
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from ssvideo.visualization.curves import Series, draw_overview, read_scalars  # noqa: E402

HEALTH = ('loss', '*_loss', 'loss_*', '*accuracy', '*perplexity', '*codebook_use', '*_feature_std', '*_effective_rank',
          '*_similarity', 'psnr', 'grad_norm', 'lr', 'data_time', 'time', 'samples_per_s', 'memory', 'skipped_files',
          'skipped_steps')
"""Patterns of the figures that are shown where none are named."""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('runs', nargs='+', type=Path, help='working directories of runs, or their scalars.json')
    parser.add_argument('--keys', nargs='+', metavar='KEY',
                        help='names of logged figures, or patterns such as "video_*"; default: the health of a training')
    parser.add_argument('--list', action='store_true', help='only list what was logged')
    parser.add_argument('--out', type=Path, help='the picture; default: pictures/logs.png in the first run')
    return parser.parse_args(argv)


def read_runs(runs: list[Path]) -> dict[str, Series]:
    """The scalars of each run, by a label as short as tells them apart.

    Raises:
        ValueError: if a run logged nothing.
    """
    found = {run: read_scalars(run) for run in runs}
    if silent := [str(run) for run, scalars in found.items() if not scalars]:
        raise ValueError(f'{silent}: no log (<timestamp>/vis_data/scalars.json) is there; name the working directories of runs')
    names = [run.resolve().name for run in found]
    return {name if names.count(name) == 1 else str(run): found[run] for run, name in zip(found, names)}


def choose(scalars: dict[str, Series], keys: list[str] | None) -> list[str]:
    """The logged figures that are meant, in the order of ``keys``.

    Args:
        scalars: of each run.
        keys: names or patterns; None: those of :data:`HEALTH` that any run logged, or all where it logged none.

    Raises:
        ValueError: if no run logged a key.
    """
    logged = sorted({key for found in scalars.values() for key in found})
    matching = {key: [name for name in logged if fnmatchcase(name, key)] for key in keys or HEALTH}
    if keys and (unknown := [key for key, names in matching.items() if not names]):
        raise ValueError(f'none of the runs logged {unknown}; they logged {logged}')
    return list(dict.fromkeys(name for names in matching.values() for name in names)) or logged


def summary(scalars: dict[str, Series], keys: list[str]) -> Table:
    """First, last, lowest and highest value of each figure in each run."""
    table = Table(box=None, pad_edge=False, header_style='bold')
    for title in ('figure', 'run'):
        table.add_column(title, overflow='fold')
    for title in ('points', 'first', 'last', 'min', 'max', 'last step'):
        table.add_column(title, justify='right', no_wrap=True)
    for key in keys:
        for run, found in scalars.items():
            if points := found.get(key):
                values = [value for _, value in points]
                known = [value for value in values if not math.isnan(value)] or values
                numbers = [values[0], values[-1], min(known), max(known)]
                table.add_row(key, run, str(len(points)), *(f'{number:.4g}' for number in numbers), str(points[-1][0]))
    return table


def main(argv: list[str] | None = None) -> None:
    """Draw and tabulate, or say in one line why not."""
    args = parse_args(argv)
    first = args.runs[0]
    out = args.out or (first.parent if first.is_file() else first) / 'pictures' / 'logs.png'
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    try:
        scalars = read_runs(args.runs)
        keys = sorted({key for found in scalars.values() for key in found}) if args.list else choose(scalars, args.keys)
        console.print(summary(scalars, keys))
        if not args.list:
            draw_overview({key: {run: found.get(key, ()) for run, found in scalars.items()} for key in keys}, out)
            print(f'{len(keys)} figures of {len(scalars)} run(s) are drawn in {out}')
    except ValueError as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
