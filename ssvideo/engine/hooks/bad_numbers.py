"""Losses and gradients that are not finite, or leap."""
from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from mmengine.dist import all_gather_object, get_rank, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...registry import HOOKS
from ...utils.files import write_whole
from ..drawn import drawn_in
from ..log_steps import is_log_step, to_numbers
from ..optim_wrapper import GuardedOptimWrapper
from .bare_model import bare_model

REPORT = 'bad_numbers.json'
NUM_SHOWN = 5


class BadNumbersError(FloatingPointError):
    """A training cannot go on: its losses, gradients or weights are not finite."""


@HOOKS.register_module()
class BadNumbersHook(Hook):
    """Says when :class:`GuardedOptimWrapper` left steps out or a loss leapt, and stops a run that does not recover.

    It looks when ``LoggerHook`` logs, before a checkpoint is written:

    - Steps left out since the last look are a warning of one line.
    - With ``max_in_row`` of them in a row or more, up to now, the run stops with :class:`BadNumbersError`, on all
      processes. ``bad_numbers.json`` in the work folder then has the iteration; of every process the losses since the last
      look and what was drawn where one was not finite (draw, index, path); the gradient norms of the parts of the model,
      the largest first, in the last step and in the last finite one; and the last checkpoint, whose weights are good.
    - A loss above the median of the ``window`` losses before the last look by more than ``spike`` robust deviations
      (1.4826 x the median distance from the median, at least 1 % of it) is a warning of one line.

    A checkpoint with a weight that is not finite is never written: the run stops instead, and the one before it stays.

    Args:
        max_in_row: optimiser steps.
        spike: deviations.
        window: iterations; half of them must have been.

    Raises:
        ValueError: if an argument is not positive.
    """
    priority = 'LOW'  # after the line of the log, before the checkpoint

    def __init__(self, max_in_row: int = 10, spike: float = 10.0, window: int = 100) -> None:
        if min(max_in_row, spike, window) <= 0:
            raise ValueError('BadNumbersHook: max_in_row, spike and window must be positive, got '
                             f'{max_in_row}, {spike} and {window}')
        self.max_in_row, self.spike, self.window = max_in_row, spike, window
        self._num_steps = self._known = 0

    def before_train(self, runner: Runner) -> None:
        """Go on counting where a resumed run's checkpoint left off."""
        wrapper = runner.optim_wrapper
        if not isinstance(wrapper, GuardedOptimWrapper):
            runner.logger.warning(
                f'{type(wrapper).__name__} takes steps that are not finite: set optim_wrapper.type to '
                'ssvideo.GuardedOptimWrapper, or to ssvideo.AutocastOptimWrapper for bfloat16')
        elif 'train/skipped_steps' in runner.message_hub.log_scalars:
            self._known = int(runner.message_hub.get_scalar('train/skipped_steps').current())
            wrapper.skipped.fill_(self._known)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Look, if it is time."""
        self._num_steps += 1
        if not is_log_step(runner, batch_idx):
            return
        losses = self._losses(runner)
        self._warn_of_spike(runner, losses)
        if isinstance(runner.optim_wrapper, GuardedOptimWrapper):
            self._look_at_skipped(runner, losses)
        self._num_steps = 0

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Refuse to write weights that are not finite.

        Raises:
            BadNumbersError: naming them.
        """
        weights = {name: value for name, value in bare_model(runner).named_parameters() if value.is_floating_point()}
        finite = to_numbers([value.detach().isfinite().all() for value in weights.values()])
        bad = [name for name, is_finite in zip(weights, finite) if not is_finite]
        if bad:
            raise BadNumbersError(f'{len(bad)} of {len(weights)} weights are not finite at iteration {runner.iter + 1}, such as '
                                  f'{bad[:NUM_SHOWN]}: this checkpoint is not written. {_last_checkpoint(runner)}')

    def _losses(self, runner: Runner) -> dict[str, np.ndarray]:
        """Every loss since the last look, by name, and before."""
        return {name.removeprefix('train/'): buffer.data[0] for name, buffer in runner.message_hub.log_scalars.items()
                if name.startswith('train/') and 'loss' in name}

    def _warn_of_spike(self, runner: Runner, losses: dict[str, np.ndarray]) -> None:
        if 'loss' not in losses:
            return
        now, before = losses['loss'][-self._num_steps:], losses['loss'][:-self._num_steps][-self.window:]
        now, before = now[np.isfinite(now)], before[np.isfinite(before)]
        if not len(now) or len(before) < self.window / 2:
            return
        middle = np.median(before)
        deviation = max(1.4826 * np.median(np.abs(before - middle)), 0.01 * abs(middle))
        if now.max() > middle + self.spike * deviation:
            runner.logger.warning(
                f'loss spike: {now.max():.4g} in the {self._num_steps} iterations to {runner.iter + 1}, where the median of the '
                f'{len(before)} before is {middle:.4g}, with a deviation of {deviation:.2g}')

    def _look_at_skipped(self, runner: Runner, losses: dict[str, np.ndarray]) -> None:
        wrapper = runner.optim_wrapper
        skipped, in_row = (int(number) for number in to_numbers([wrapper.skipped, wrapper.skipped_in_row]))
        if in_row >= self.max_in_row:
            self._stop(runner, losses, in_row)
        if skipped > self._known:
            terms = {name: values for name, values in losses.items() if name != 'loss'} or losses
            bad = {name: self._bad_iterations(runner, values) for name, values in terms.items()}
            reasons = '; '.join(f'{name} not finite in {_some(found)}' for name, found in bad.items() if found)
            runner.logger.warning(
                f'{skipped - self._known} optimiser step(s) left out up to iteration {runner.iter + 1}, {skipped} in all: '
                f'{reasons or "a gradient, or the loss of another process, was not finite"}')
        self._known = skipped

    def _bad_iterations(self, runner: Runner, values: np.ndarray) -> list[int]:
        """Numbers, as the log has them, of the iterations since the last look in which a loss was not finite."""
        since = values[-self._num_steps:]
        return [runner.iter + 2 - len(since) + index for index in np.flatnonzero(~np.isfinite(since)).tolist()]

    def _stop(self, runner: Runner, losses: dict[str, np.ndarray], in_row: int) -> None:
        """Write the report, and end the run."""
        bad = self._bad_iterations(runner, losses.get('loss', np.empty(0))) or [runner.iter + 1]  # a gradient only: the last
        here = dict(
            rank=get_rank(), losses={name: values[-self._num_steps:].tolist() for name, values in losses.items()},
            bad_iterations=[dict(iteration=number, drawn=drawn_in(runner, number - 1)) for number in bad[-self.max_in_row:]])
        now, before = runner.optim_wrapper.norms_by_part()
        report = dict(iteration=runner.iter + 1, skipped_in_row=in_row, grad_norms=now, last_finite_grad_norms=before,
                      last_checkpoint=_last_checkpoint(runner), processes=all_gather_object(here))
        path = Path(runner.work_dir) / REPORT
        if is_main_process():
            write_whole(path, json.dumps(_plain(report), indent=1))
        found = ', '.join(f'{name} {values[-1]:.4g}' for name, values in losses.items())
        largest = ', '.join(f'{part} {norm:.3g}' for part, norm in list(before.items())[:NUM_SHOWN])
        raise BadNumbersError(
            f'{in_row} optimiser steps in a row were left out, up to iteration {runner.iter + 1}, because a loss or gradient '
            f'was not finite. Losses of this process: {found}. Largest gradient norms of the last finite step: {largest}. '
            f'Samples, losses and norms are in {path}. {_last_checkpoint(runner)}')


def _last_checkpoint(runner: Runner) -> str:
    pointer = Path(runner.work_dir) / 'last_checkpoint'
    if not pointer.exists():
        return 'No checkpoint has been written yet'
    return f'The last checkpoint is {pointer.read_text().strip()}'


def _some(numbers: list[int]) -> str:
    shown = ', '.join(str(number) for number in numbers[:NUM_SHOWN])
    return f'iteration {shown}' + (f' and {len(numbers) - NUM_SHOWN} more' if len(numbers) > NUM_SHOWN else '')


def _plain(value):
    """For JSON, which has no NaN: such numbers as text."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
