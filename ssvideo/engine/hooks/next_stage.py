"""Goes from a stage of pre-training to the next as if it were one run."""
from __future__ import annotations

import copy
from collections.abc import Sequence
from types import SimpleNamespace

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from ...registry import HOOKS
from .bare_model import bare_model

NEVER_NEGATIVE = ('exp_avg_sq', 'max_exp_avg_sq')


@HOOKS.register_module()
class NextStageHook(Hook):
    """Resumes a checkpoint of the stage before, whose clips had another size or length.

    With ``resume=True`` and ``load_from='stage 1's checkpoint'`` in the config of stage 2, the epoch, the optimiser's
    state and the schedules are carried on. What belongs to the backbone's grid (positions, and with them the
    optimiser's moments) is fitted by ``Backbone.adapt``. The number of iterations in an epoch may differ (other
    batches), so the iteration is counted anew from the epoch, and the learning rate is what *this* config's schedule
    says there: both stages should state the same schedule, over the epochs of both. All other settings of the optimiser
    are this config's, too.

    A checkpoint of the stage itself is resumed as always.

    Args:
        stage: number of this stage; written into its checkpoints, so that they are known again.

    Raises:
        ValueError: if the checkpoint holds no optimiser, or another one's.

    Source: VIMPAC, arXiv:2106.11250, Sec. 4.1 and App. B: 90 epochs at 128 px, then 10 at 256 px.
    """

    def __init__(self, stage: int = 2) -> None:
        self.stage = stage

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Note the stage."""
        checkpoint['meta']['stage'] = self.stage

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Fit the optimiser's state, the schedules and the iteration to this stage, where a run is resumed."""
        meta = checkpoint.get('meta', {})
        if not runner._resume or meta.get('stage') == self.stage:
            return
        if 'optimizer' not in checkpoint or isinstance(runner.param_schedulers, dict):
            raise ValueError('NextStageHook carries on one optimiser and its schedules: write the checkpoints of the '
                             'stage before with save_optimizer=True, and use one optimiser. To start anew from the '
                             'weights, set resume=False')
        epoch = meta['epoch']
        meta.pop('run', None)  # another batch, and so other draws
        meta['stage_before'] = True  # the backbone fits the weights to its own sizes
        meta['iter'] = epoch * len(runner.train_dataloader)
        optimizer = runner.optim_wrapper.optimizer
        notes = fit_moments(bare_model(runner), optimizer, checkpoint['optimizer'])
        schedules, rate = advance_schedules(runner.param_schedulers or [], optimizer, epoch, len(runner.train_dataloader))
        checkpoint['optimizer'].pop('base_param_settings', None)
        checkpoint['optimizer']['param_groups'] = rate
        checkpoint['param_schedulers'] = schedules
        for note in notes:
            runner.logger.info(f'optimiser: {note}')
        runner.logger.info(f"stage {self.stage} goes on after epoch {epoch}, at iteration {meta['iter']}, with a learning "
                           f"rate of {max((group['lr'] for group in rate), default=0):.3g}")


@torch.no_grad()
def fit_moments(model: nn.Module, optimizer: torch.optim.Optimizer, saved: dict) -> list[str]:
    """Fit the moments in a saved optimiser state to the model's sizes, as the backbone fits weights.

    Args:
        model: with a ``backbone``.
        optimizer: the one that is going to load the state.
        saved: the optimiser's state dict; changed.

    Returns:
        One line per tensor that was changed, "from what to what".

    Raises:
        ValueError: if the state is not of this optimiser's parameters, or does not fit after all.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group['params']]
    num_saved = sum(len(group['params']) for group in saved['param_groups'])
    if num_saved != len(parameters):
        raise ValueError(f'the checkpoint has an optimiser state of {num_saved} parameters, this model trains '
                         f'{len(parameters)}: the stages must have the same architecture and objectives')
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    place = {names[id(parameter)]: index for index, parameter in enumerate(parameters)}
    state, notes = saved['state'], []
    kinds = {kind for one in state.values() for kind, value in one.items() if isinstance(value, Tensor) and value.ndim}
    for kind in sorted(kinds):
        moments = {name.removeprefix('backbone.'): state[index][kind] for name, index in place.items()
                   if name.startswith('backbone.') and kind in state.get(index, {})}
        fitted, changes = model.backbone.adapt(moments)
        notes += [f'{kind} of {change}' for change in changes]
        for name, moment in fitted.items():
            state[place[f'backbone.{name}']][kind] = moment.clamp_min(0) if kind in NEVER_NEGATIVE else moment
    for index, parameter in enumerate(parameters):
        for kind in kinds & state.get(index, {}).keys():
            if state[index][kind].shape != parameter.shape:
                raise ValueError(f'{names[id(parameter)]} is {tuple(parameter.shape)} here, and its {kind} in the '
                                 f'checkpoint {tuple(state[index][kind].shape)}: the stages may differ in the grid only')
    return notes


def advance_schedules(schedulers: Sequence, optimizer: torch.optim.Optimizer, epochs: int,
                      epoch_length: int) -> tuple[list[dict], list[dict]]:
    """Go through the schedules up to the end of an epoch.

    Parameters that begin with the same values have the same ones ever after, so it is done once for each such value.

    Args:
        schedulers: mmengine's, as they were built, of this optimiser.
        optimizer: the optimiser.
        epochs: how far to go.
        epoch_length: iterations in an epoch.

    Returns:
        The schedulers' states, and the optimiser's ``param_groups`` (as its state dict has them).
    """
    kinds, members = {}, []
    for group in (schedulers[0].optimizer if schedulers else optimizer).param_groups:
        values = {key: value for key, value in group.items() if key != 'params' and isinstance(value, (int, float))}
        members.append(kinds.setdefault(tuple(sorted(values.items())), (len(kinds), values))[0])
    groups = [values for _, values in kinds.values()]
    stand_ins = [_stand_in(scheduler, groups, members) for scheduler in schedulers]
    for iteration in range(1, epochs * epoch_length + 1):
        for scheduler in stand_ins:
            if not scheduler.by_epoch or iteration % epoch_length == 0:
                scheduler.step()
    states = []
    for scheduler, stand_in in zip(schedulers, stand_ins):
        last = stand_in._last_value
        states.append(scheduler.state_dict() | dict(
            _global_step=stand_in._global_step, last_step=stand_in.last_step,
            _last_value=[last[member] for member in members]))
    saved_groups = torch.optim.Optimizer.state_dict(optimizer)['param_groups']  # without moments that are shared out
    return states, [group | groups[member] for group, member in zip(saved_groups, members)]


def _stand_in(scheduler, groups: list[dict], members: list[int]):
    """The scheduler at its beginning, acting on ``groups`` instead of the optimiser's."""
    stand_in = copy.copy(scheduler)
    stand_in.optimizer = SimpleNamespace(param_groups=groups, step=scheduler.optimizer.step, _global_step=0)
    stand_in.base_values = [scheduler.base_values[members.index(kind)] for kind in range(len(groups))]
    return stand_in
