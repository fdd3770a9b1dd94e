"""Print which share of the tokens a masker hides, on any grid.

    python tools/analysis_tools/mask_ratios.py BlockMasker --grid 5 16 16 --grid 10 16 16 --vary num_blocks 1 5 9
    python tools/analysis_tools/mask_ratios.py TubeMasker --grid 16 14 14 --options temporal_stride=2 --vary mask_ratio 0.25 0.5
"""
from __future__ import annotations

import argparse
import ast
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch  # noqa: E402
from mmengine.config import DictAction  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

import ssvideo.models  # noqa: E402, F401
from ssvideo.models.maskers import Masker  # noqa: E402
from ssvideo.models.maskers.base import Grid  # noqa: E402
from ssvideo.registry import MODELS  # noqa: E402
from ssvideo.utils.plugins import plugin_argument, use_plugins  # noqa: E402


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('masker', help='name of a registered masker')
    parser.add_argument('--grid', nargs=3, type=int, action='append', required=True, metavar=('T', 'H', 'W'),
                        help='token grid; may be given several times')
    parser.add_argument('--vary', nargs='+', default=[], metavar=('ARGUMENT', 'VALUE'), help='a row for each value')
    parser.add_argument('--options', nargs='+', action=DictAction, default={}, help='further arguments of the masker')
    parser.add_argument('--draws', type=int, default=2000, help='masks drawn for each figure')
    parser.add_argument('--seed', type=int, default=0)
    plugin_argument(parser)
    return parser.parse_args(argv)


def ratios(masker: Masker, grid: Grid, draws: int, seed: int) -> torch.Tensor:
    """The hidden share of each of some masks, ``(draws,)`` float64."""
    rng = random.Random(seed)
    return torch.cat([(masker(grid, 1, rng) != 0).double().mean().view(1) for _ in range(draws)])


def main(argv: list[str] | None = None) -> None:
    """Print mean and standard deviation, in percent."""
    args = parse_args(argv)
    name, *values = args.vary or ['']
    try:
        use_plugins(args.plugin)
        if args.vary and not values:
            raise ValueError(f'--vary {name} needs values, such as --vary num_blocks 1 3 5')
        rows = [{name: ast.literal_eval(value)} for value in values] or [{}]
        kind = f'ssvideo.{args.masker.removeprefix("ssvideo.")}'
        maskers = [MODELS.build(dict(type=kind, **args.options, **row)) for row in rows]
        if not isinstance(maskers[0], Masker):
            raise ValueError(f'{args.masker} is a {type(maskers[0]).__name__}, not a masker')
        table = Table(title=f'{args.masker}: tokens hidden in % (mean, and deviation from mask to mask; {args.draws} masks)')
        table.add_column(name)
        for grid in args.grid:
            table.add_column(' x '.join(map(str, grid)), justify='right')
        for row, masker in zip(rows, maskers):
            drawn = [100 * ratios(masker, tuple(grid), args.draws, args.seed) for grid in args.grid]
            table.add_row(str(row.get(name, '')), *(f'{shares.mean():.1f} ± {shares.std():.1f}' for shares in drawn))
    except (ValueError, TypeError, KeyError) as error:
        sys.exit(f'error: {error}')
    Console().print(table)


if __name__ == '__main__':
    main()
