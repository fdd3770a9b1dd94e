"""Test a fine-tuned checkpoint: ``python tools/test.py CONFIG CHECKPOINT``."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for custom_imports=['plugins.x'] from anywhere

from ssvideo.engine.launch import build_runner, common_arguments, load_config  # noqa: E402


def parse_args() -> argparse.Namespace:
    """The command line; mmaction2's words."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--dump', metavar='FILE.pkl', help="write the predictions, for mmaction2's offline evaluation")
    common_arguments(parser)
    args = parser.parse_args()
    if args.dump and not args.dump.endswith(('.pkl', '.pickle')):
        parser.error(f'--dump writes a pickle file, so its name must end in .pkl or .pickle; got {args.dump}')
    return args


def main() -> None:
    """Test, and say where the results are."""
    args = parse_args()
    cfg = load_config(args)
    cfg.load_from = args.checkpoint
    if args.dump:
        metrics = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
        cfg.test_evaluator = [*metrics, dict(type='DumpResults', out_file_path=args.dump)]
    figures = build_runner(cfg).test()
    shown = ', '.join(f'{name} {value:.4f}' for name, value in figures.items())
    print(f'{shown}; logs are in {cfg.work_dir}' + (f', predictions in {args.dump}' if args.dump else ''))


if __name__ == '__main__':
    main()
