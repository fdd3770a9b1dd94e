"""Several seeds of one recipe in one process."""
from __future__ import annotations

import copy
import json
import time
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process

from ..utils.files import write_whole
from .launch import build_runner


def train_seeds(cfg: Config, seeds: Sequence[int]) -> list[dict]:
    """Train once for each seed; the last validation of each is its result.

    Args:
        cfg: the recipe; each seed works in ``work_dir/seed_<n>``.
        seeds: the seeds.

    Returns:
        One dict for each seed: ``seed``, ``top1`` in [0, 1] (and every other validation figure), ``seconds``.
        ``work_dir/results.json`` holds the same, with the numbers of classes and test videos.

    Raises:
        ValueError: if the recipe does not validate.
    """
    if cfg.get('val_evaluator') is None:
        raise ValueError('--seeds collects the last validation of each run, and this config has no val_evaluator')
    results = []
    for number, seed in enumerate(seeds, start=1):
        print(f'{Path(cfg.work_dir).name}: seed {seed} ({number} of {len(seeds)})', flush=True)
        result, num_test = _train_one(cfg, seed)
        results.append(result)
        summary = dict(task=Path(cfg.work_dir).name, num_classes=cfg.model.num_classes, num_test=num_test, seeds=results)
        if is_main_process():
            write_whole(Path(cfg.work_dir) / 'results.json', json.dumps(summary, indent=2))
    return results


def _train_one(cfg: Config, seed: int) -> tuple[dict, int]:
    run = copy.deepcopy(cfg)
    run.randomness = dict(run.get('randomness') or {}, seed=seed)
    run.work_dir = str(Path(cfg.work_dir) / f'seed_{seed}')
    # mmengine keeps its message hub and log by this name: it must be another for each run of the process
    run.experiment_name = f'{Path(cfg.work_dir).name}_seed_{seed}_{time.monotonic_ns()}'
    started = time.monotonic()
    runner = build_runner(run)
    runner.train()
    figures = {name.removeprefix('val/'): float(buffer.current())
               for name, buffer in runner.message_hub.log_scalars.items() if name.startswith('val/')}
    figures['top1'] = figures.pop('acc/top1')
    result = dict(seed=seed, **figures, seconds=round(time.monotonic() - started, 1))
    return result, len(runner.val_dataloader.dataset)
