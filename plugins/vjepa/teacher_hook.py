"""Moves the teacher after each optimiser step."""
from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ssvideo.engine.hooks.bare_model import bare_model
from ssvideo.registry import HOOKS


@HOOKS.register_module()
class TeacherHook(Hook):
    """Calls the model's ``update_teacher`` with a momentum that rises linearly over the run.

    The momentum is a function of the iteration, so a resumed run goes on as the uninterrupted one. The one in use is logged as
    ``teacher_momentum``.

    Args:
        momentum: at the first and at the last iteration; V-JEPA: 0.998 and 1.0.
        stretch: length of the schedule over that of the run; V-JEPA: 1.25, so the run ends before the schedule does.

    Raises:
        ValueError: if an argument is out of range; before training, if the model has no teacher.

    Source: V-JEPA, arXiv:2404.08471, App.; the schedule's form and stretch: published code.
    """

    priority = 'ABOVE_NORMAL'  # before the teacher is looked at (KNNHook) or saved

    def __init__(self, momentum: tuple[float, float] = (0.998, 1.0), stretch: float = 1.0) -> None:
        if len(momentum) != 2 or not all(0 <= value <= 1 for value in momentum):
            raise ValueError(f'TeacherHook: momentum must be two numbers in [0, 1], first and last, got {tuple(momentum)}')
        if stretch < 1:
            raise ValueError(f'TeacherHook: stretch must be at least 1, got {stretch}')
        self.momentum = tuple(momentum)
        self.stretch = stretch

    def before_train(self, runner: Runner) -> None:
        """Tell the model that its teacher is taken care of."""
        model = bare_model(runner)
        if not hasattr(model, 'update_teacher'):
            raise ValueError(f'TeacherHook moves the teacher of a model such as ssvideo.VJEPA; {type(model).__name__} has none: '
                             'take the hook out of custom_hooks')
        model.is_followed = True

    def after_train(self, runner: Runner) -> None:
        """Take care no more."""
        bare_model(runner).is_followed = False

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Move the teacher, at the end of an optimiser step."""
        if runner.optim_wrapper.should_update():
            momentum = self.momentum_at(runner.iter, runner.max_iters)
            bare_model(runner).update_teacher(momentum)
            runner.message_hub.update_scalar('train/teacher_momentum', momentum)

    def momentum_at(self, iteration: int, num_iterations: int) -> float:
        """The momentum after an iteration, counted from 0, of a run of so many."""
        first, last = self.momentum
        return first + (last - first) * iteration / (num_iterations * self.stretch)
