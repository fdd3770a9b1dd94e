"""Optimiser steps that leave out what is not finite, and mixed precision on any device."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import contextmanager

import torch
from mmengine.device import get_device
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from ..registry import OPTIM_WRAPPERS
from .zero_adamw import local_optimizer

FUSED = (Adam, AdamW)
"""Optimisers whose fused kernels leave a step out when told on the device. torch's fused SGD does, too, but a first step
that is left out leaves its momentum uninitialised."""


@OPTIM_WRAPPERS.register_module()
class GuardedOptimWrapper(OptimWrapper):
    """mmengine's wrapper, which leaves out an optimiser step whose loss or gradient is not finite.

    Weights, the optimiser's state and what moves among the buffers (batch norm's statistics, a codebook) then are as after
    the last good step. Nothing else changes: schedules go on by iterations, and an average of weights (``EMAHook``) takes
    in the unchanged ones once more. Under accumulation the whole step is left out. Where all is
    finite, weights are bit for bit those of mmengine's wrapper.

    All processes decide alike, and send nothing for it: a loss that is not finite gives gradients of NaN, and the
    exchange of gradients hands them to everyone.

    The host does not wait for the device: Adam and AdamW leave the step out on the device itself, for which their fused
    kernels are chosen on a GPU, unless the config has ``fused``, ``foreach`` or ``capturable``. With other optimisers,
    and with kernels that are not fused, the host asks the device once in an optimiser step.

    Args:
        optimizer: mmengine builds it.
        accumulative_counts: batches of an optimiser step.
        clip_grad: as mmengine's, such as ``dict(max_norm=1.0)``; ``error_if_nonfinite`` has no effect.

    Attributes:
        grad_norm: 0-d, norm of the gradients of the last step before clipping, on the device; None before the first.
        skipped: 0-d int64, steps left out so far, on the device.
        skipped_in_row: 0-d int64, how many of them are the last ones.
    """

    def __init__(self, optimizer: Optimizer, accumulative_counts: int = 1, clip_grad: dict | None = None) -> None:
        super().__init__(optimizer, accumulative_counts, clip_grad)
        clips_norm = clip_grad is not None and self.grad_name == 'grad_norm'
        self._norm_type = float(clip_grad.get('norm_type', 2.0)) if clips_norm else 2.0
        _choose_fused(optimizer)
        device = next(parameter for group in optimizer.param_groups for parameter in group['params']).device
        self.grad_norm: Tensor | None = None
        self.skipped = torch.zeros((), dtype=torch.int64, device=device)
        self.skipped_in_row = torch.zeros((), dtype=torch.int64, device=device)
        self._names: dict[int, str] = {}
        self._buffers: list[Tensor] = []
        self._good_buffers: list[Tensor] = []
        self._parameters: list[nn.Parameter] = []
        self._norms = self._good_norms = torch.empty(0)

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:
        """As mmengine's; moreover the model's buffers and the names of its parameters are noted."""
        super().initialize_count_status(model, init_counts, max_counts)
        bare = model.module if is_model_wrapper(model) else model
        self._names = {id(parameter): name for name, parameter in bare.named_parameters()}
        self._buffers = [buffer for buffer in bare.buffers() if buffer.is_floating_point() or buffer.numel() == 1]
        self._good_buffers = [buffer.clone() for buffer in self._buffers]

    def backward(self, loss: Tensor, **kwargs) -> None:
        """Backward pass of a loss; of one that is not finite, every gradient that it has is NaN."""
        finite = loss.detach().isfinite()
        super().backward(loss, gradient=torch.where(finite, 1.0, float('nan')).to(loss.dtype), **kwargs)

    @torch.no_grad()
    def step(self, **kwargs) -> None:
        """Clip the gradients and step, unless they are not finite; then everything stays as it was."""
        parameters = [parameter for parameter in self._trained() if parameter.grad is not None]
        if not parameters:
            self.optimizer.step(**kwargs)
            return
        norms = torch.stack(torch._foreach_norm([parameter.grad for parameter in parameters], self._norm_type))
        self.grad_norm = torch.linalg.vector_norm(norms, self._norm_type)
        bad = ~self.grad_norm.isfinite()
        self._count(bad, parameters, norms)
        if self.clip_grad_kwargs:
            self._clip(parameters, self.grad_norm)
        if self._skips_on_device():
            self._step_on_device(bad, kwargs)
        elif not bad:
            self.optimizer.step(**kwargs)
        for buffer, good in zip(self._buffers, self._good_buffers):
            good.copy_(torch.where(bad, good, buffer))
            buffer.copy_(good)

    def norms_by_part(self) -> tuple[dict[str, float], dict[str, float]]:
        """Gradient norms of the parts of the model (a layer, an objective), the largest first. Waits for the device.

        Returns:
            Those of the last step, and those of the last one that was finite; both empty before the first step.
        """
        names = [self._names.get(id(parameter), 'unknown') for parameter in self._parameters]
        return tuple(_by_part(names, norms.tolist(), self._norm_type) for norms in (self._norms, self._good_norms))

    def _trained(self) -> Iterable[nn.Parameter]:
        return (parameter for group in self.optimizer.param_groups for parameter in group['params']
                if parameter.requires_grad)

    def _count(self, bad: Tensor, parameters: list[nn.Parameter], norms: Tensor) -> None:
        self.skipped += bad
        self.skipped_in_row = (self.skipped_in_row + 1) * bad
        same = len(norms) == len(self._good_norms)
        self._good_norms = torch.where(bad, self._good_norms, norms) if same else norms
        self._parameters, self._norms = parameters, norms

    def _clip(self, parameters: list[nn.Parameter], norm: Tensor) -> None:
        """As mmengine's ``_clip_grad``, which would ask the device for the norm."""
        kwargs = dict(self.clip_grad_kwargs)
        if self.grad_name == 'grad_norm':
            kwargs.pop('norm_type', None)
            kwargs.pop('error_if_nonfinite', None)
            nn.utils.clip_grads_with_norm_(parameters, total_norm=norm, **kwargs)
        else:
            self.clip_func(parameters, **kwargs)

    def _skips_on_device(self) -> bool:
        groups = self.optimizer.param_groups
        return isinstance(local_optimizer(self.optimizer), FUSED) and all(group.get('fused') for group in groups)

    def _step_on_device(self, bad: Tensor, kwargs: dict) -> None:
        """What ``torch.amp.GradScaler`` tells fused optimisers: ``found_inf`` of 1 changes nothing."""
        local = local_optimizer(self.optimizer)
        local.grad_scale, local.found_inf = None, bad.float()
        try:
            self.optimizer.step(**kwargs)
        finally:
            del local.grad_scale, local.found_inf


def _choose_fused(optimizer: Optimizer) -> None:
    """Adam's and AdamW's fused kernels, on a GPU and where the config does not choose."""
    groups = optimizer.param_groups
    on_gpu = all(parameter.is_cuda for group in groups for parameter in group['params'])
    if on_gpu and isinstance(local_optimizer(optimizer), FUSED) and all(
            group['fused'] is None and group['foreach'] is None and not group['capturable'] for group in groups):
        for group in groups:
            group['fused'] = True


def _by_part(names: Sequence[str], norms: Sequence[float], norm_type: float) -> dict[str, float]:
    parts: dict[str, list[float]] = {}
    for name, norm in zip(names, norms):
        words = name.split('.')
        depth = 3 if len(words) > 2 and words[2].isdigit() else 2  # backbone.layers.3, objectives.mlm
        parts.setdefault('.'.join(words[:depth]), []).append(norm)
    joined = {part: torch.linalg.vector_norm(torch.tensor(found), norm_type).item() for part, found in parts.items()}
    return dict(sorted(joined.items(), key=lambda item: -item[1] if item[1] == item[1] else float('-inf')))  # NaN first


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(GuardedOptimWrapper):
    """``GuardedOptimWrapper``, with the forward under bfloat16 autocast.

    ``AmpOptimWrapper`` asserts a GPU and scales losses for float16. bfloat16 has the range of float32, so it needs no
    scaler, and the same config runs on a CPU. Arguments are ``GuardedOptimWrapper``'s.
    """

    @contextmanager
    def optim_context(self, model: torch.nn.Module):
        """Run the forward under autocast, and hold back gradient exchange while accumulating."""
        with super().optim_context(model), torch.autocast(get_device(), torch.bfloat16):
            yield
