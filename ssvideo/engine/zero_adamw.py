"""AdamW whose moments are shared out among the processes."""
from __future__ import annotations

from collections.abc import Iterable

import torch.distributed as dist
from torch import Tensor
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.optim import AdamW, Optimizer

from ..registry import OPTIMIZERS


@OPTIMIZERS.register_module()
class ZeroAdamW(ZeroRedundancyOptimizer):
    """AdamW, of which each process keeps the moments of its share of the parameters (ZeRO, stage 1).

    A step computes the same as AdamW's; each process makes its share and hands it to the others, which is one more exchange
    of all weights. With R processes the moments take 8 / R bytes a parameter instead of 8. A checkpoint
    (``ssvideo.CheckpointHook``) holds what AdamW's would, and either resumes the other's.

    Args:
        params: tensors or groups.
        lr: learning rate.
        betas: of the two moments.
        eps: added to the root of the second moment.
        weight_decay: decoupled.
        fused: as AdamW's; ``None`` chooses it on a GPU under a ``GuardedOptimWrapper``.

    Raises:
        ValueError: where there is one process without a launcher.

    Source: ZeRO, arXiv:1910.02054, Sec. 5.1.
    """

    def __init__(self, params: Iterable[Tensor] | Iterable[dict], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 1e-2, fused: bool | None = None) -> None:
        if not dist.is_initialized():
            raise ValueError('ZeroAdamW shares moments out among processes, and this one was started without a launcher: take '
                             "optimizer=dict(type='AdamW', ...), or start with tools/dist_train.sh")
        super().__init__(params, optimizer_class=AdamW, lr=lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay,
                         fused=fused)
        self.defaults = dict(self.optim.defaults)  # AdamW's, which a checkpoint has
        self._gathered = False

    def step(self, closure=None, **kwargs):
        """As AdamW's."""
        self._gathered = False
        return super().step(closure, **kwargs)

    def gather(self) -> None:
        """Bring all moments to the first process, whose :meth:`state_dict` then has them; all processes must call it."""
        self.consolidate_state_dict(to=0)
        self._gathered = True

    def state_dict(self) -> dict:
        """As AdamW's, on the first process.

        Raises:
            RuntimeError: where the moments of the last step are not on this process.
        """
        if not self._gathered or not self._all_state_dicts:
            raise RuntimeError('the moments are shared out: all processes must call gather() after the last step, and the first '
                               'one then knows the state; ssvideo.CheckpointHook does that')
        state = super().state_dict()
        self._all_state_dicts = []  # the others' moments are not kept
        self._gathered = False
        return state

    def load_state_dict(self, state_dict: dict) -> None:
        """Take this process's share of a whole state, AdamW's or one of ours.

        Raises:
            ValueError: if it is of other parameters.
        """
        given, expected = ([len(group['params']) for group in groups]
                           for groups in (state_dict['param_groups'], self.param_groups))
        if given != expected:
            raise ValueError(f'the optimiser state has groups of {given} parameters, this model {expected}')
        place = {id(parameter): index for index, parameter in enumerate(_parameters(self))}
        own = [place[id(parameter)] for parameter in _parameters(self.optim)]
        here = {index: state_dict['state'][whole] for index, whole in enumerate(own) if whole in state_dict['state']}
        local = self.optim.state_dict()['param_groups']
        groups = [group | dict(params=ours['params']) for group, ours in zip(state_dict['param_groups'], local)]
        self.optim.load_state_dict(dict(state=here, param_groups=groups))
        self._sync_param_groups(self.optim.param_groups, self.param_groups)


def local_optimizer(optimizer: Optimizer) -> Optimizer:
    """What computes the steps of this process's parameters: the optimiser itself, where moments are not shared out."""
    return optimizer.optim if isinstance(optimizer, ZeroRedundancyOptimizer) else optimizer


def gather_state(optimizer: Optimizer) -> None:
    """Let the first process know the whole state; all processes must call it."""
    if isinstance(optimizer, ZeroAdamW):
        optimizer.gather()


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group['params']]
