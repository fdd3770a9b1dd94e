"""Ends a run that was asked to end, at the next optimiser step and with a checkpoint."""
from __future__ import annotations

import signal

import torch
import torch.distributed as dist
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from ..stop_signals import StopSignals
from ..streams import ZippedLoader
from .checkpoint import CheckpointHook


class StopHook(Hook):
    """After a signal to any process, all save at the same optimiser step and end with the exit status 128 + its number.

    The processes tell each other at every step, in the background and on the host: what one sends at a step, all read at
    the next. A loop that starts an epoch over on resume (mmengine's) ends without another checkpoint.

    Args:
        signals: where the signals of this process are noted.
    """
    priority = 'LOWEST'  # after everything else that belongs to the iteration

    def __init__(self, signals: StopSignals) -> None:
        self.signals = signals
        self._group = self._asked = None

    def before_train(self, runner: Runner) -> None:
        """Make a group of the processes that talks on the host, whatever the device."""
        if get_world_size() > 1:
            self._group = dist.new_group(backend='gloo')

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Save and end, if anybody was asked to.

        Raises:
            SystemExit: on all processes at the same step.
        """
        if runner.optim_wrapper.should_update() and (number := self._received_by_anybody()):
            self._save(runner, signal.Signals(number).name)
            if self._group is not None:
                dist.barrier(self._group)  # a launcher ends all processes as soon as one has ended
            raise SystemExit(128 + number)

    def _received_by_anybody(self) -> int:
        if self._group is None:
            return self.signals.received or 0
        number = 0
        if self._asked is not None:
            answer, work = self._asked
            work.wait()
            number = int(answer)  # on the host: no device waits
        if not number:
            answer = torch.tensor(self.signals.received or 0)
            self._asked = answer, dist.all_reduce(answer, dist.ReduceOp.MAX, self._group, async_op=True)
        return number

    def _save(self, runner: Runner, name: str) -> None:
        where = f'{name}: ending after {runner.iter + 1} iterations'
        if isinstance(runner.train_loop, EpochBasedTrainLoop) and not isinstance(runner.train_dataloader, ZippedLoader):
            runner.logger.warning(f'{where}, without a checkpoint: this loop can only start an epoch over. With '
                                  'ssvideo.ClipTrainLoop a run goes on where it was')
            return
        runner.logger.warning(f'{where}, with a checkpoint; --resume goes on from there')
        for hook in runner.hooks:
            if isinstance(hook, CheckpointHook):
                hook.save_interrupted(runner)
