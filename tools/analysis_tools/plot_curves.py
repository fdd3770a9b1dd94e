"""Draw what runs logged: one picture for each quantity, one line for each run.

    python tools/analysis_tools/plot_curves.py work_dirs/tokenizer work_dirs/peco_small --keys psnr codebook_use
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ssvideo.visualization import draw_curves, read_scalars  # noqa: E402


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('runs', nargs='+', type=Path, help='working directories of runs')
    parser.add_argument('--keys', nargs='+', default=['loss'], help='names of logged scalars')
    parser.add_argument('--out', type=Path, help='folder for the pictures; default: pictures/ in the first run')
    return parser.parse_args(argv)


def plot(runs: list[Path], keys: list[str], out: Path) -> list[Path]:
    """Draw ``<key>.png`` into ``out`` for each key.

    Args:
        runs: working directories; a picture leaves out runs that did not log its key.
        keys: names of scalars.
        out: folder.

    Returns:
        The pictures.

    Raises:
        ValueError: if a run logged nothing, or no run logged a key.
    """
    scalars = {run: read_scalars(run) for run in runs}
    if silent := [str(run) for run, found in scalars.items() if not found]:
        raise ValueError(f'{silent}: no log (<timestamp>/vis_data/scalars.json) is there; name the working directories of runs')
    logged = sorted({key for found in scalars.values() for key in found})
    if unknown := [key for key in keys if key not in logged]:
        raise ValueError(f'none of the runs logged {unknown}; they logged {logged}')
    labels = {run: run.name if [other.name for other in runs].count(run.name) == 1 else str(run) for run in runs}
    return [draw_curves({labels[run]: found[key] for run, found in scalars.items() if key in found},
                        out / f'{key.replace("/", "_")}.png', key.replace('_', ' '), key) for key in keys]


def main(argv: list[str] | None = None) -> None:
    """Draw, or say in one line why not."""
    args = parse_args(argv)
    out = args.out or args.runs[0] / 'pictures'
    try:
        pictures = plot(args.runs, args.keys, out)
    except ValueError as error:
        sys.exit(f'error: {error}')
    print(f'{len(pictures)} pictures of {len(args.runs)} runs are in {out}')


if __name__ == '__main__':
    main()
