"""What a step found, read from the device when it is logged."""
from __future__ import annotations

from mmengine.hooks import RuntimeInfoHook
from mmengine.logging import MessageHub
from mmengine.runner import Runner
from torch import Tensor

from ...registry import HOOKS
from ..log_steps import is_log_step, to_numbers
from ..optim_wrapper import GuardedOptimWrapper

NUM_KEPT = 2000
"""Values of each scalar that the message hub keeps. mmengine copies them all at each new one, and keeps a million."""


@HOOKS.register_module()
class LateInfoHook(RuntimeInfoHook):
    """mmengine's ``RuntimeInfoHook``, but the host waits for the device once in a logging interval, not in every step.

    The losses and metrics of every step are kept where they are, and go to the message hub together when ``LoggerHook``
    is about to log, and before a checkpoint is saved. What is logged is what mmengine would log, and moreover
    ``grad_norm`` and ``skipped_steps`` (in all) of a :class:`GuardedOptimWrapper`.
    """

    def __init__(self) -> None:
        self._steps: list[dict[str, Tensor | float]] = []

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        """Keep what the step found; hand it on if it is time to log."""
        found = {name: value.detach() if isinstance(value, Tensor) else value for name, value in (outputs or {}).items()}
        wrapper = runner.optim_wrapper
        guarded = isinstance(wrapper, GuardedOptimWrapper)
        if guarded and wrapper.should_update() and wrapper.grad_norm is not None:
            found['grad_norm'] = wrapper.grad_norm
        logs = is_log_step(runner, batch_idx)
        if guarded and logs:
            found['skipped_steps'] = wrapper.skipped
        self._steps.append(found)
        if logs:
            self._hand_on(runner.message_hub)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Let the checkpoint hold the scalars of all steps before it."""
        if self._steps:
            self._hand_on(runner.message_hub)
            checkpoint['message_hub'] = runner.message_hub.state_dict()

    def _hand_on(self, hub: MessageHub) -> None:
        named = [(f'train/{name}', value) for step in self._steps for name, value in step.items()]
        self._steps = []
        for (name, _), number in zip(named, to_numbers([value for _, value in named])):
            hub.update_scalar(name, number)
        for buffer in hub.log_scalars.values():
            buffer.max_length = NUM_KEPT
