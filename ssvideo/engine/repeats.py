"""Several trainings of one recipe in one process, with other seeds or on other splits of the data."""
from __future__ import annotations

import copy
import json
import statistics
import time
from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from ..utils.files import write_whole
from .launch import build_runner, train_until_stopped


def train_repeats(word: str, recipes: Mapping[int, Config]) -> dict:
    """Train one recipe after the other; the last validation of each is its result.

    Args:
        word: what the recipes differ in, ``'seed'`` or ``'split'``.
        recipes: by seed or split; of one ``work_dir``, below which each works in ``<word>_<number>``.

    Returns:
        What ``work_dir/results.json`` holds: ``task`` (its name), ``num_classes``, ``num_test`` (test videos of the first
        recipe), ``mean`` and ``std`` of top-1 in [0, 1], and under ``seeds`` or ``splits`` a dict for each: its number
        (``seed`` or ``split``), ``top1`` and every other validation figure, ``num_test``, ``seconds``.

    Raises:
        ValueError: if the recipes do not validate.
    """
    work_dir, found = None, []
    for number, cfg in recipes.items():
        if cfg.get('val_evaluator') is None:
            raise ValueError(f'--{word}s collects the last validation of each run, and this config has no val_evaluator')
        work_dir = Path(cfg.work_dir)
        if is_main_process():
            print(f'{work_dir.name}: {word} {number} ({len(found) + 1} of {len(recipes)})', flush=True)
        found.append({word: number, **_train_one(cfg, f'{word}_{number}')})
        results = _summary(work_dir.name, cfg.model.num_classes, word, found)
        if is_main_process():
            write_whole(work_dir / 'results.json', json.dumps(results, indent=2))
    if is_main_process():
        print(f'{_in_words(results, word)}; see {work_dir / "results.json"}', flush=True)
    return results


def _train_one(cfg: Config, name: str) -> dict:
    run, last = copy.deepcopy(cfg), _LastValidation()
    run.work_dir = str(Path(cfg.work_dir) / name)
    # mmengine keeps its message hub and log by this name: it must be another for each run of the process
    run.experiment_name = f'{Path(cfg.work_dir).name}_{name}_{time.monotonic_ns()}'
    started = time.monotonic()
    runner = build_runner(run)
    runner.register_hook(last)
    train_until_stopped(runner)
    # a run that is resumed when its last epoch was done trains nothing, and so validates nothing
    figures = {key: float(value) for key, value in (last.figures or runner.val_loop.run()).items()}
    top1 = figures.pop('acc/top1')
    return dict(top1=top1, **figures, num_test=len(runner.val_dataloader.dataset), seconds=round(time.monotonic() - started, 1))


class _LastValidation(Hook):
    """Keeps what the last validation found."""

    figures: dict | None = None

    def after_val_epoch(self, runner, metrics=None) -> None:
        self.figures = metrics


def _summary(task: str, num_classes: int, word: str, found: list[dict]) -> dict:
    accuracies = [one['top1'] for one in found]
    return {'task': task, 'num_classes': num_classes, 'num_test': found[0]['num_test'], 'mean': statistics.fmean(accuracies),
            'std': statistics.stdev(accuracies) if len(found) > 1 else 0.0, f'{word}s': found}


def _in_words(results: dict, word: str) -> str:
    each = ', '.join(f'{one[word]}: {100 * one["top1"]:.1f}' for one in results[f'{word}s'])
    return f'{results["task"]}: top-1 {100 * results["mean"]:.1f} ± {100 * results["std"]:.1f} % over {word}s ({each})'
