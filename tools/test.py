"""Test a fine-tuned checkpoint: ``python tools/test.py CONFIG CHECKPOINT``.

``--temporal`` changes what clips show in time (BEVT, Table 2). Each clip of a video is changed as it is decoded, or read from
a token store, before any crop is cut; what is random is drawn once for a video and holds for all its clips and crops.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for custom_imports=['plugins.x'] from anywhere

from mmengine.config import Config  # noqa: E402
from mmengine.dist import is_main_process  # noqa: E402
from mmengine.hooks import Hook  # noqa: E402

from ssvideo.datasets.temporal_order import TEMPORAL_ORDERS  # noqa: E402
from ssvideo.engine.hooks.bare_model import bare_model  # noqa: E402
from ssvideo.engine.launch import build_runner, common_arguments, leave, load_config  # noqa: E402
from ssvideo.engine.same_run import refuse_other_weights  # noqa: E402
from ssvideo.evaluation.temporal import reordered_dataset, temporal_table, write_temporal  # noqa: E402


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line; mmaction2's words, and ``--temporal``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--dump', metavar='FILE.pkl', help="write the predictions, for mmaction2's offline evaluation")
    parser.add_argument('--temporal', choices=[*TEMPORAL_ORDERS, 'all'], default='normal',
                        help='show one random frame of the video only, or the frames of each clip permuted or backwards; '
                             "'all' tests each and writes temporal.md and temporal.json")
    common_arguments(parser)
    args = parser.parse_args(argv)
    if args.dump and not args.dump.endswith(('.pkl', '.pickle')):
        parser.error(f'--dump writes a pickle file, so its name must end in .pkl or .pickle; got {args.dump}')
    if args.dump and args.temporal == 'all':
        parser.error('--dump writes the predictions of one test: name one order, such as --temporal shuffle')
    return args


class OnlyItsOwnWeights(Hook):
    """mmengine tests whatever it could not load with random weights."""

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Raise ``ValueError`` unless the checkpoint holds all weights of the model and no others."""
        refuse_other_weights(bare_model(runner), checkpoint)


def run_tests(cfg: Config, orders: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Test a checkpoint with the clips in one order after the other; metrics by order."""
    runner = build_runner(cfg, train=False)
    runner.register_hook(OnlyItsOwnWeights(), 'HIGHEST')  # it allows nothing, and says so before the recipe's hook does
    plain, figures = cfg.test_dataloader, {}
    loaders = {order: dict(plain, dataset=reordered_dataset(plain.dataset, order, runner.seed)) for order in orders}
    for order, loader in loaders.items():
        if order != 'normal':
            runner.test_loop.dataloader = runner.build_dataloader(loader, seed=runner.seed)
        figures[order] = runner.test_loop.run() if figures else runner.test()  # which loads the checkpoint
    if len(orders) > 1 and is_main_process():
        path = write_temporal(cfg.work_dir, figures, config=cfg.filename, checkpoint=cfg.load_from, seed=runner.seed)
        print(f'\n{temporal_table(figures)}\nThe table is in {path}')
    return figures


def line_of(figures: dict[str, float]) -> str:
    """Metrics in a line."""
    return ', '.join(f'{name} {value:.4f}' for name, value in figures.items())


def main(argv: list[str] | None = None) -> None:
    """Test, and say where the results are."""
    args = parse_args(argv)
    cfg = load_config(args)
    cfg.resume, cfg.load_from = False, args.checkpoint
    if args.dump:
        metrics = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
        cfg.test_evaluator = [*metrics, dict(type='DumpResults', out_file_path=args.dump)]
    figures = run_tests(cfg, TEMPORAL_ORDERS if args.temporal == 'all' else (args.temporal,))
    shown = '\n'.join(f'{order}: {line_of(row)}' if args.temporal != 'normal' else line_of(row) for order, row in figures.items())
    print(f'{shown}; logs are in {cfg.work_dir}' + (f', predictions in {args.dump}' if args.dump else ''))
    leave()


if __name__ == '__main__':
    main()
