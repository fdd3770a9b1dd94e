"""What a run says about files that cannot be read."""
from __future__ import annotations

from pathlib import Path

from mmengine.evaluator import DumpResults
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...registry import HOOKS


@HOOKS.register_module()
class BrokenFilesHook(Hook):
    """Lists broken files in the work folder, whatever the loop; no metric scores a prediction that is missing.

    In training the data set is told the work folder (``VideoList.log_broken_to``), as ``StreamTrainLoop`` tells its own.
    Before a validation or test with ``on_broken='missing'`` each metric must know of missing predictions; ``VideoAccuracy``
    is told to list them in ``missing_predictions.jsonl`` in the work folder.

    Raises:
        ValueError: if another metric would be given predictions that are none.
    """

    def before_train(self, runner: Runner) -> None:
        """Say where broken files are listed, unless it is said."""
        dataset = runner.train_loop.dataloader.dataset
        if hasattr(dataset, 'log_broken_to') and dataset.timed_out is None:
            dataset.log_broken_to(runner.work_dir, resumed=runner._resume)

    def before_val(self, runner: Runner) -> None:
        """Look at the metrics of the validation."""
        self._check(runner, runner.val_loop)

    def before_test(self, runner: Runner) -> None:
        """Look at the metrics of the test."""
        self._check(runner, runner.test_loop)

    @staticmethod
    def _check(runner: Runner, loop) -> None:
        for metric in loop.evaluator.metrics:
            if getattr(metric, 'counts_missing', False):
                metric.missing_file = Path(runner.work_dir) / 'missing_predictions.jsonl'
            elif getattr(loop.dataloader.dataset, 'on_broken', None) == 'missing' and not isinstance(metric, DumpResults):
                raise ValueError(f"the data set has on_broken='missing', and {type(metric).__name__} would score what is no "
                                 "prediction: use dict(type='ssvideo.VideoAccuracy', ...), which counts it as wrong, or "
                                 "on_broken='error'")
