"""Logging that a full disk does not end."""
from __future__ import annotations

from mmengine.hooks import LoggerHook as MMEngineLoggerHook
from mmengine.runner import Runner

from ...registry import HOOKS


@HOOKS.register_module()
class LoggerHook(MMEngineLoggerHook):
    """mmengine's hook of the same name; where curves cannot be written (a full disk), an error is logged and training goes on.

    Arguments are mmengine's.
    """

    def after_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        """Log, and write the curves."""
        self._surviving(super().after_train_iter, runner, *args, **kwargs)

    def after_val_epoch(self, runner: Runner, *args, **kwargs) -> None:
        """Log a validation, and write the curves."""
        self._surviving(super().after_val_epoch, runner, *args, **kwargs)

    @staticmethod
    def _surviving(write, runner: Runner, *args, **kwargs) -> None:
        try:
            write(runner, *args, **kwargs)
        except OSError as error:
            runner.logger.error(f'CURVES NOT WRITTEN after iteration {runner.iter + 1}: {error}. Training goes on')
