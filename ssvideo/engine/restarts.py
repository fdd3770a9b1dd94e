"""Where a run goes on: from the newest good checkpoint, by hand or after its launcher started it again."""
from __future__ import annotations

import logging
import os
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process

from .checkpoint_files import newest_checkpoint

RESTART_COUNTS = ('TORCHELASTIC_RESTART_COUNT', 'SLURM_RESTART_COUNT')
"""Where torchrun and Slurm tell how often they have started a job again."""
STARTED = '.started'
"""A file in the work folder, made when a run starts: what is older is of an earlier run."""


def restarted() -> str | None:
    """What says that this process was started again by its launcher, or None."""
    return next((f'{word}={count}' for word in RESTART_COUNTS if (count := os.environ.get(word, '0')) != '0'), None)


def go_on(cfg: Config) -> list[tuple[int, str]]:
    """Let a recipe resume from the newest good checkpoint of its work folder: where ``auto_resume`` is set, or after a restart.

    Where there is none, it starts as it says itself, with its own ``resume`` and ``load_from``. With ``auto_resume``
    all checkpoints of the folder count; after a restart those that were written since the run first started. The first
    process chooses for all.

    Args:
        cfg: with ``work_dir``; ``resume`` and ``load_from`` are changed in place.

    Returns:
        What to say about it: logging levels and lines.
    """
    # not every process of a restarted job is told so: torchrun counts on each machine by itself
    restart = next(filter(None, all_gather_object(restarted())), None)
    started = Path(cfg.work_dir) / STARTED
    if not cfg.get('auto_resume') and not restart:
        if is_main_process():
            started.parent.mkdir(parents=True, exist_ok=True)
            started.touch()
        return []
    reason = '--resume' if cfg.get('auto_resume') else restart
    since = started.stat().st_mtime_ns if not cfg.get('auto_resume') and started.exists() else 0
    folder, template = _where(cfg)
    found = [newest_checkpoint(folder, template, since) if is_main_process() else None]
    broadcast_object_list(found)
    path, passed_over = found[0]
    lines = [(logging.WARNING, f'{reason}: passed over: {why}') for why in passed_over]
    if path is None:
        return [*lines, (logging.WARNING, f'{reason}: there is no checkpoint to resume from in {folder}; starting anew')]
    cfg.resume, cfg.load_from = True, str(path)
    return [*lines, (logging.INFO, f'{reason}: going on from {path}')]


def _where(cfg: Config) -> tuple[Path, str]:
    """Folder and names of the checkpoints that the recipe's ``CheckpointHook`` writes."""
    hook, folder = cfg.default_hooks.get('checkpoint') or {}, Path(cfg.work_dir)
    template = hook.get('filename_tmpl') or ('epoch_{}.pth' if hook.get('by_epoch', True) else 'iter_{}.pth')
    return (Path(hook.out_dir) / folder.name if hook.get('out_dir') else folder), template
