"""Pre-train or fine-tune: ``python tools/train.py CONFIG``."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for custom_imports=['plugins.x'] from anywhere

from ssvideo.engine.launch import build_runner, common_arguments, load_config  # noqa: E402
from ssvideo.engine.seeds import train_seeds  # noqa: E402


def parse_args() -> argparse.Namespace:
    """The command line; mmaction2's words, and ``--seeds``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--resume', nargs='?', const='auto', metavar='CHECKPOINT',
                        help='resume from a checkpoint, or from the latest in the work directory')
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast, on a GPU or a CPU')
    parser.add_argument('--no-validate', action='store_true', help='no validation while training')
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate to the real batch size')
    parser.add_argument('--seed', type=int, help='random seed; default: the one in the config')
    parser.add_argument('--seeds', type=int, nargs='+',
                        help='train once for each seed, in one process; results.json collects the last validations')
    common_arguments(parser)
    return parser.parse_args()


def main() -> None:
    """Train, and say where the results are."""
    args = parse_args()
    cfg = load_config(args)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        cfg.optim_wrapper.type = 'ssvideo.AutocastOptimWrapper'
    if args.auto_scale_lr:
        cfg.auto_scale_lr = dict(cfg.get('auto_scale_lr') or {}, enable=True)
    if args.resume:
        cfg.resume, cfg.load_from = True, None if args.resume == 'auto' else args.resume
    if args.seed is not None:
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=args.seed)
    if args.seeds:
        train_seeds(cfg, args.seeds)
    else:
        build_runner(cfg).train()
    print(f'Finished {args.config}: logs, checkpoints and curves are in {cfg.work_dir}')


if __name__ == '__main__':
    main()
