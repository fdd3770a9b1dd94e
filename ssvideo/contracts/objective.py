"""The contract of an objective, checked."""
from __future__ import annotations

import torch

from ..models.objectives.base import Objective
from ..structures import Features, MaskedTokens


def check_objective(objective: Objective, features: Features, masked: MaskedTokens) -> None:
    """Check the returned terms, gradients, and what happens where nothing is masked.

    Args:
        objective: the objective.
        features: features that require a gradient.
        masked: targets, with something masked.

    Raises:
        AssertionError: with the sentence of the contract that does not hold.
    """
    objective.train()
    terms = objective(features, masked)
    assert 'loss' in terms, f"an objective returns {{'loss': ...}}, got the keys {sorted(terms)}"
    for name, value in terms.items():
        assert value.dim() == 0, f'{name} is 0-d, got {tuple(value.shape)}'
        assert name == 'loss' or 'loss' not in name, f'the name of a metric must not contain "loss": {name}'
        assert name == 'loss' or not value.requires_grad, f'the metric {name} is detached'
    assert torch.isfinite(terms['loss']), 'the loss is finite'
    _check_gradients(objective, terms['loss'])
    nothing = MaskedTokens(tokens=masked.tokens, mask=torch.zeros_like(masked.mask), positions=masked.positions[:0],
                           num_views=masked.num_views)
    empty = objective(features, nothing)['loss']
    assert torch.isfinite(empty), 'where nothing is masked the loss is not NaN'
    assert empty.requires_grad, 'where nothing is masked the loss keeps the graph'
    _check_gradients(objective, empty)
    if type(objective).predict is not Objective.predict:
        predicted = objective.predict(features, masked)
        assert len(predicted) == len(masked.positions), 'predict gives one token for each masked position'


def _check_gradients(objective: Objective, loss: torch.Tensor) -> None:
    objective.zero_grad()
    loss.backward(retain_graph=True)
    without = [name for name, parameter in objective.named_parameters()
               if parameter.requires_grad and parameter.grad is None]
    assert not without, f'gradients reach every trainable parameter; none reached {without}'
