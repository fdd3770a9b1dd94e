"""The contract of a whole model, checked: a ``Pretrainer``, or a model beside it, such as one of teacher and student."""
from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from .case import (
    Case,
    is_copied,
    is_pickled,
    is_registered,
    on_meta,
    refuses_a_misspelt_argument,
    run_checks,
    same_tensors,
    shifted,
    without_gradient,
)
from .two_processes import train_in_two_processes


@dataclass
class ModelCase(Case):
    """A model, and what it is trained on.

    Args:
        part: the model.
        arguments: see :class:`Case`.
        batch: as the loaders give it, what the model's ``data_preprocessor`` is given.
    """
    part: BaseModel
    batch: Mapping = None

    def losses(self, model: BaseModel, seed: int = 0) -> dict[str, Tensor]:
        """Losses and metrics of a step in training mode."""
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        return losses_of(model.train(), self.batch)


def losses_of(model: BaseModel, batch: Mapping) -> dict[str, Tensor]:
    """What a model returns in the mode 'loss' for a batch of the loaders."""
    return model(**model.data_preprocessor(batch, True), mode='loss')


def returns_losses_and_metrics(case: ModelCase) -> None:
    """In the mode 'loss' a model returns a dict of tensors without dimensions, all finite, some of them losses."""
    terms = case.losses(case.fresh())
    assert isinstance(terms, dict) and terms, f'It returned a {type(terms).__name__}.'
    for name, value in terms.items():
        assert isinstance(value, Tensor) and value.dim() == 0, \
            f'{name} is 0-d, got {tuple(value.shape) if isinstance(value, Tensor) else value!r}.'
        assert torch.isfinite(value), f'{name} is {value}.'
    assert any('loss' in name for name in terms), f'No name contains "loss": {sorted(terms)}.'


def names_its_metrics(case: ModelCase) -> None:
    """The name of a metric must not contain "loss", for mmengine sums all that do; and a metric is detached."""
    for name, value in case.losses(case.fresh()).items():
        assert 'loss' not in name or value.requires_grad, \
            f'{name} has no gradient, so it is a metric: the name of a metric must not contain "loss"; rename it.'
        assert 'loss' in name or not value.requires_grad, f'The metric {name} is not detached.'


def gives_every_parameter_a_gradient(case: ModelCase) -> None:
    """Gradients reach every trainable parameter in each step."""
    model = case.fresh()
    model.parse_losses(case.losses(model))[0].backward()
    without = without_gradient(model)
    assert not without, f'None reached {without}: use them, leave them out, or freeze them, for DDP waits for each.'


def repeats_under_a_seed(case: ModelCase) -> None:
    """Two steps are a function of the seed: weights and losses are the same in a second run."""
    runs = []
    for _ in range(2):
        model = case.fresh()
        optimizer = torch.optim.SGD([parameter for parameter in model.parameters() if parameter.requires_grad], lr=1e-3)
        losses = []
        for step in range(2):
            terms = case.losses(model, step)
            losses.append({name: value.detach() for name, value in terms.items()})
            optimizer.zero_grad()
            model.parse_losses(terms)[0].backward()
            optimizer.step()
        runs.append((losses, model.state_dict()))
    for first, second in zip(runs[0][0], runs[1][0]):
        same_tensors(first, second, 'a second run')
    same_tensors(runs[0][1], runs[1][1], 'a second run')


def is_carried_by_its_state_dict(case: ModelCase) -> None:
    """A state dict carries the whole model: loaded into another, it gives the same losses."""
    other = shifted(case.part)
    other.load_state_dict(case.part.state_dict())
    first, second = case.losses(case.fresh()), case.losses(other)
    for name in first:
        assert torch.allclose(first[name], second[name], atol=1e-5), \
            f'{name} is {second[name]} instead of {first[name]}: register what decides in buffers.'


def trains_a_step(case: ModelCase) -> None:
    """mmengine's loop trains it: ``train_step`` steps and returns what is logged, with the sum ``loss``."""
    model = case.fresh().train()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.SGD([parameter for parameter in model.parameters() if parameter.requires_grad], lr=0.1)
    logged = model.train_step(case.batch, OptimWrapper(optimizer))
    assert 'loss' in logged, f'train_step returned {sorted(logged)}.'
    assert any(not torch.equal(before[name], parameter) for name, parameter in model.named_parameters()), 'No weight changed.'


def runs_on_any_device(case: ModelCase) -> None:
    """No device is written into it, and the host never waits for a value: torch's meta device runs it."""
    model = case.fresh().to('meta').train()
    with on_meta():
        terms = losses_of(model, case.batch)
    wrong = [name for name, value in terms.items() if 'loss' in name and value.device.type != 'meta']
    assert not wrong, f'The model is on meta, {wrong} are not.'


def works_under_autocast(case: ModelCase) -> None:
    """Autocast to bfloat16 trains it: losses and gradients are finite."""
    model = case.fresh()
    with torch.autocast('cpu', torch.bfloat16):
        loss = model.parse_losses(case.losses(model))[0]
    loss.backward()
    assert torch.isfinite(loss), f'The loss is {loss}.'
    bad = [name for name, parameter in model.named_parameters()
           if parameter.grad is not None and not torch.isfinite(parameter.grad).all()]
    assert not bad, f'The gradients of {bad} are not finite.'


def trains_in_two_processes(case: ModelCase) -> None:
    """Two processes agree on the gradients, and none waits for a parameter that is not used."""
    train_in_two_processes(ModelStep(case.fresh().train()), [(case.batch,), (case.batch,)])


class ModelStep(nn.Module):
    """The loss alone.

    Args:
        model: the model.
    """

    def __init__(self, model: BaseModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Mapping) -> Tensor:
        """0-d."""
        return self.model.parse_losses(losses_of(self.model, batch))[0]


MODEL_CHECKS = (returns_losses_and_metrics, names_its_metrics, gives_every_parameter_a_gradient, repeats_under_a_seed,
                is_carried_by_its_state_dict, trains_a_step, runs_on_any_device, works_under_autocast,
                refuses_a_misspelt_argument, is_copied)
MODEL_KIT = (is_registered, *MODEL_CHECKS, is_pickled, trains_in_two_processes)


def check_model(model: BaseModel, batch: Mapping) -> None:
    """Check losses, metrics, gradients, determinism, the weights' round trip, a step, devices, precision and copies.

    Args:
        model: the model.
        batch: as the loaders give it.

    Raises:
        AssertionError: with the sentence of the contract that does not hold.
    """
    run_checks(MODEL_CHECKS, ModelCase(model, batch=batch))
