"""A recipe's batch, whatever the number of processes."""
from __future__ import annotations

import os
from collections.abc import Mapping

from mmengine.config import Config
from mmengine.runner import Runner

WORLD_SIZES = dict(pytorch='WORLD_SIZE', slurm='SLURM_NTASKS', mpi='OMPI_COMM_WORLD_SIZE')
"""Where a launcher tells the number of processes."""


def accumulative_counts(runner: Runner) -> int:
    """Batches of an optimiser step; the runner's wrapper is a config until it trains."""
    wrapper = runner.optim_wrapper
    return wrapper.get('accumulative_counts', 1) if isinstance(wrapper, Mapping) else wrapper._accumulative_counts


def keep_global_batch(cfg: Config) -> str | None:
    """Let an optimiser step see ``cfg.global_batch`` videos, which the learning rate is meant for.

    ``optim_wrapper.accumulative_counts`` becomes what batch size and processes leave over. Where mmengine's
    ``auto_scale_lr`` is enabled, the batch stays what it is and the learning rate is scaled instead, here and not by
    mmengine, which knows neither several streams nor accumulation. An ``EMAHook`` averages once a step in both cases.

    Args:
        cfg: a recipe; changed in place. Without ``global_batch`` nothing is done. Batches are those of the stream that
            sets the epoch, the first; the others' are in the proportion of their batch sizes.

    Returns:
        One line for the log, or ``None``.

    Raises:
        ValueError: if no number of batches makes ``global_batch``.
    """
    if not cfg.get('global_batch'):
        return None
    place, loader = 'train_dataloader', cfg.train_dataloader
    if 'dataset' not in loader:
        stream, loader = next(iter(loader.items()))
        place = f'{place}.{stream}'
    processes = 1 if cfg.launcher == 'none' else int(os.environ[WORLD_SIZES[cfg.launcher]])
    at_once = loader.batch_size * processes
    what = f'{processes} process(es) x {place}.batch_size={loader.batch_size}'
    if (cfg.get('auto_scale_lr') or {}).get('enable'):
        line = _scale_rate(cfg, at_once, what)
    else:
        counts, rest = divmod(cfg.global_batch, at_once)
        if rest or not counts:
            raise ValueError(f'{what} = {at_once} does not divide global_batch={cfg.global_batch}: {_advice(cfg, processes)}')
        cfg.optim_wrapper.accumulative_counts = counts
        line = f'{what} x accumulative_counts={counts} = global_batch={cfg.global_batch}: the learning rate stays'
    for hook in cfg.get('custom_hooks') or []:
        if hook['type'].rsplit('.', 1)[-1] == 'EMAHook':
            hook['interval'] = cfg.optim_wrapper.get('accumulative_counts', 1)
    return line


def _scale_rate(cfg: Config, at_once: int, what: str) -> str:
    counts = cfg.optim_wrapper.get('accumulative_counts', 1)
    base = cfg.auto_scale_lr.get('base_batch_size', cfg.global_batch)
    before = cfg.optim_wrapper.optimizer.lr
    cfg.optim_wrapper.optimizer.lr = before * at_once * counts / base
    cfg.auto_scale_lr.enable = False  # done
    return (f'{what} x accumulative_counts={counts} = {at_once * counts} instead of {base}: the learning rate goes from '
            f'{before:g} to {cfg.optim_wrapper.optimizer.lr:g}')


def _advice(cfg: Config, processes: int) -> str:
    share, rest = divmod(cfg.global_batch, processes)
    if rest:
        return (f'take a number of processes that divides {cfg.global_batch}, or another global_batch with the learning rate '
                'that belongs to it')
    sizes = ', '.join(str(size) for size in range(1, share + 1) if share % size == 0)
    return f'{processes} process(es) can take batches of {sizes}; scale the batch sizes of all streams alike'
