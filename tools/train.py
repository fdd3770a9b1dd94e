"""Pre-train or fine-tune: ``python tools/train.py CONFIG``.

After SIGTERM or SIGINT (Ctrl-C) the run saves at the next optimiser step and ends with the exit status 143 or 130; a second
signal ends it at once. ``--resume`` goes on from there, and so does a run that torchrun or Slurm starts again.
"""
from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for custom_imports=['plugins.x'] from anywhere

from mmengine.config import Config  # noqa: E402

from ssvideo.engine.launch import build_runner, common_arguments, leave, load_config, train_until_stopped  # noqa: E402
from ssvideo.engine.repeats import train_repeats  # noqa: E402


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line; mmaction2's words, ``--seeds`` and ``--splits``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('--resume', nargs='?', const='auto', metavar='CHECKPOINT',
                        help='resume from a checkpoint, or from the newest good one in the work directory')
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast, on a GPU or a CPU')
    parser.add_argument('--no-validate', action='store_true', help='no validation while training')
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate to the real batch size')
    parser.add_argument('--seed', type=int, help='random seed; default: the one in the config')
    repeats = parser.add_mutually_exclusive_group()
    repeats.add_argument('--seeds', type=int, nargs='+',
                         help='train once for each seed, in one process; results.json collects the last validations')
    repeats.add_argument('--splits', type=int, nargs='+', help='the same for splits of the data (configs that read SPLIT)')
    common_arguments(parser)
    args = parser.parse_args(argv)
    if (args.seeds or args.splits) and args.resume not in (None, 'auto'):
        parser.error(f'--seeds and --splits resume each run from its own latest checkpoint: leave out {args.resume}')
    return args


def read_config(args: argparse.Namespace, seed: int | None = None, split: int | None = None) -> Config:
    """The config with the words of the command line.

    Args:
        args: the words.
        seed: stands above that of the config; None leaves it.
        split: of the data, which the config reads from the environment's ``SPLIT``; None leaves it.

    Raises:
        ValueError: if a split is asked for, and the config does not read it.
    """
    if split is not None:
        os.environ['SPLIT'] = str(split)
    cfg = load_config(args)
    if split is not None and cfg.get('SPLIT') != split:
        raise ValueError(f"--splits: {args.config} has no splits; one that has says SPLIT = int('{{{{$SPLIT:1}}}}') and names "
                         'its lists after it')
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        cfg.optim_wrapper.type = 'ssvideo.AutocastOptimWrapper'
    if args.auto_scale_lr:
        cfg.auto_scale_lr = dict(cfg.get('auto_scale_lr') or {}, enable=True)
    if args.resume == 'auto':
        cfg.auto_resume = True
    elif args.resume:
        cfg.resume, cfg.load_from = True, args.resume
    if seed is not None:
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=seed)
    return cfg


def run(args: argparse.Namespace) -> None:
    """Train, and say where the results are."""
    if args.seeds:
        train_repeats('seed', {seed: read_config(args, seed) for seed in args.seeds})
    elif args.splits:
        train_repeats('split', {split: read_config(args, args.seed, split) for split in args.splits})
    else:
        cfg = read_config(args, args.seed)
        train_until_stopped(build_runner(cfg))
        print(f'Finished {args.config}: logs, checkpoints and curves are in {cfg.work_dir}')


def main() -> None:
    """Train, and part from the other processes, also where a signal ended the training of all."""
    args = parse_args()
    try:
        run(args)
    except SystemExit:
        leave()
        raise
    leave()


if __name__ == '__main__':
    main()
