"""The contract of an objective, checked."""
from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..models.backbones.base import Backbone
from ..models.objectives.base import Objective
from ..structures import PAD, Features, MaskedTokens
from .case import (
    Case,
    compiled,
    is_copied,
    is_pickled,
    is_registered,
    not_one_graph,
    on_meta,
    refuses_a_misspelt_argument,
    run_checks,
    shifted,
    without_gradient,
)
from .two_processes import train_in_two_processes


@dataclass
class ObjectiveCase(Case):
    """An objective, and what it learns from.

    Args:
        part: the objective.
        arguments: see :class:`Case`.
        features: of a backbone.
        masked: targets, with something masked.
        streams: features and targets of further streams, for an objective some parameters of which serve one stream only.
    """
    part: Objective
    features: Features = None
    masked: MaskedTokens = None
    streams: tuple[tuple[Features, MaskedTokens], ...] = ()

    def leaves(self, device: str = 'cpu') -> Features:
        """The features as tensors that a gradient can reach."""
        return _leaves(self.features, device)

    def all_streams(self) -> list[tuple[Features, MaskedTokens]]:
        """Features that a gradient can reach, and targets, of every stream."""
        return [(_leaves(features), masked) for features, masked in ((self.features, self.masked), *self.streams)]

    def terms(self, objective: Objective | None = None, masked: MaskedTokens | None = None) -> dict[str, Tensor]:
        """What an objective returns in training mode, a copy by default."""
        return (objective or self.fresh()).train()(self.leaves(), masked or self.masked)


def returns_a_loss_and_metrics(case: ObjectiveCase) -> None:
    """An objective returns ``{'loss': ..., metrics}``, each a tensor without dimensions, and the loss is finite."""
    terms = case.terms()
    assert isinstance(terms, dict) and 'loss' in terms, f"It returns {{'loss': ...}}, got {sorted(terms)}."
    for name, value in terms.items():
        assert isinstance(value, Tensor) and value.dim() == 0, \
            f'{name} is 0-d, got {tuple(value.shape) if isinstance(value, Tensor) else value!r}.'
    assert torch.isfinite(terms['loss']), f'The loss is {terms["loss"]}.'


def names_its_metrics(case: ObjectiveCase) -> None:
    """The name of a metric must not contain "loss", for mmengine sums all that do; and a metric is detached."""
    for name, value in case.terms().items():
        assert name == 'loss' or 'loss' not in name, f'The name of a metric must not contain "loss": {name!r}; rename it.'
        assert name == 'loss' or not value.requires_grad, f'The metric {name} is not detached.'


def gives_every_parameter_a_gradient(case: ObjectiveCase) -> None:
    """Gradients reach every trainable parameter of the objective, and the features."""
    objective, streams = case.fresh().train(), case.all_streams()
    ObjectiveStep(objective)(*streams).backward()
    without = without_gradient(objective)
    assert not without, f'None reached {without}: use them, or leave them out, for DDP waits for each.'
    for features, _ in streams:
        assert any(found.grad is not None for found in (*features.maps, features.summary)), 'None reached the features.'


def keeps_the_graph_where_nothing_is_masked(case: ObjectiveCase) -> None:
    """Where nothing is masked the loss is a zero that keeps the graph, never NaN: no parameter is left waiting."""
    objective = case.fresh().train()
    loss = ObjectiveStep(objective)(*((features, _nothing(masked)) for features, masked in case.all_streams()))
    assert torch.isfinite(loss), f'It is {loss}: an empty mean is NaN, divide the sum by max(number, 1).'
    assert loss.requires_grad, 'It does not keep the graph: sum the empty logits, for instance.'
    loss.backward()
    assert not without_gradient(objective), f'No gradient reached {without_gradient(objective)}.'


def looks_at_masked_positions_only(case: ObjectiveCase) -> None:
    """Targets of visible positions, which may be PAD, do not matter: only what is masked is predicted."""
    masked = case.masked
    if masked.tokens is None:
        return
    where = masked.mask if masked.tokens.dim() == 4 else masked.mask.unsqueeze(-1)
    other = torch.where(where, masked.tokens, masked.tokens.new_tensor(PAD))
    states = []
    for tokens in (masked.tokens, other):
        torch.manual_seed(0)
        try:
            states.append(case.terms(masked=replace(masked, tokens=tokens))['loss'].detach())
        except (IndexError, RuntimeError) as error:
            raise AssertionError(f'PAD at visible positions fails it: {error}. Take the targets at masked.positions.') from error
    assert torch.equal(*states), (f'With PAD at visible positions the loss is {states[1]}, else {states[0]}: take the targets at '
                                  'masked.positions.')


def reads_no_more_than_it_says(case: ObjectiveCase) -> None:
    """With ``positions_only`` what the maps hold at visible positions does not matter: backbones leave them out."""
    if not case.part.positions_only or not case.features.maps:
        return
    visible = ~case.masked.mask.unsqueeze(-1)
    maps = tuple(found.masked_fill(visible, 0.0) if found.shape[:4] == visible.shape[:4] else found
                 for found in case.features.maps)
    losses = []
    for features in (case.features, replace(case.features, maps=maps)):
        torch.manual_seed(0)
        losses.append(case.fresh().train()(_leaves(features), case.masked)['loss'].detach())
    assert torch.equal(*losses), f'With other features at visible positions the loss is {losses[1]}, else {losses[0]}.'


def predicts_masked_positions(case: ObjectiveCase) -> None:
    """``predict``, where there is one, gives one token for each masked position: (P,) int64, or (P, C) float."""
    if type(case.part).predict is Objective.predict:
        return
    with torch.no_grad():
        predicted = case.fresh().eval().predict(case.leaves(), case.masked)
    assert len(predicted) == len(case.masked.positions), f'{len(case.masked.positions)} are masked, got {tuple(predicted.shape)}.'
    good = predicted.dtype == torch.int64 if predicted.dim() == 1 else predicted.dim() == 2 and predicted.is_floating_point()
    assert good, f'Got {tuple(predicted.shape)} {predicted.dtype}.'


def keeps_no_backbone(case: ObjectiveCase) -> None:
    """An objective may share a parameter of the backbone; it must not keep the backbone itself."""
    reached: dict = {}
    copy.deepcopy(case.part, reached)
    kept = sorted({type(found).__name__ for found in reached.values() if isinstance(found, Backbone)})
    assert not kept, f'It keeps a {" and a ".join(kept)}: read in __init__ what is needed, and assign no backbone to self.'


def runs_on_any_device(case: ObjectiveCase) -> None:
    """No device is written into it, and the host never waits for a value: torch's meta device runs it."""
    tokens, masked = case.masked.tokens, case.masked
    there = MaskedTokens(None if tokens is None else tokens.to('meta'), masked.mask.to('meta'), masked.positions.to('meta'),
                         masked.num_views)
    with on_meta():
        terms = case.fresh().to('meta').train()(case.leaves('meta'), there)
    assert terms['loss'].device.type == 'meta', f'The loss of features on meta is on {terms["loss"].device}.'


def works_under_autocast(case: ObjectiveCase) -> None:
    """Autocast to bfloat16 trains it: loss and gradients are finite."""
    objective = case.fresh()
    with torch.autocast('cpu', torch.bfloat16):
        loss = case.terms(objective)['loss']
    loss.backward()
    assert torch.isfinite(loss), f'The loss is {loss}.'
    bad = [name for name, parameter in objective.named_parameters()
           if parameter.grad is not None and not torch.isfinite(parameter.grad).all()]
    assert not bad, f'The gradients of {bad} are not finite.'


def is_carried_by_its_state_dict(case: ObjectiveCase) -> None:
    """A state dict carries the whole objective: loaded into another, it gives the same loss."""
    other = shifted(case.part)
    other.load_state_dict(case.part.state_dict())
    losses = []
    for objective in (case.fresh(), other):
        torch.manual_seed(0)
        losses.append(case.terms(objective)['loss'].detach())
    assert torch.equal(*losses), f'It gives {losses[1]} instead of {losses[0]}: register what decides in buffers.'


def compiles_to_one_graph(case: ObjectiveCase) -> None:
    """``torch.compile`` takes the whole of it as one graph, with the same loss."""
    objective = case.fresh().eval()
    try:
        loss = compiled(objective)(case.leaves(), case.masked)['loss']
    except torch._dynamo.exc.TorchDynamoException as error:
        raise not_one_graph(error) from error
    plain = objective(case.leaves(), case.masked)['loss']
    assert torch.allclose(loss, plain, atol=1e-5), f'The graph gives {loss} instead of {plain}.'


def trains_in_two_processes(case: ObjectiveCase) -> None:
    """Two processes agree on the gradients, also where one of them has nothing masked."""
    streams = case.all_streams()
    train_in_two_processes(ObjectiveStep(case.fresh().train()),
                           [streams, [(features, _nothing(masked)) for features, masked in streams]])


class ObjectiveStep(nn.Module):
    """The loss of all streams together.

    Args:
        objective: the objective.
    """

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.objective = objective

    def forward(self, *streams: tuple[Features, MaskedTokens]) -> Tensor:
        """0-d."""
        return sum(self.objective(features, masked)['loss'] for features, masked in streams)


def _leaves(features: Features, device: str = 'cpu') -> Features:
    maps = tuple(found.detach().to(device).requires_grad_() for found in features.maps)
    return Features(maps=maps, summary=features.summary.detach().to(device).requires_grad_())


def _nothing(masked: MaskedTokens) -> MaskedTokens:
    return replace(masked, mask=torch.zeros_like(masked.mask), positions=masked.positions[:0])


OBJECTIVE_CHECKS = (returns_a_loss_and_metrics, names_its_metrics, gives_every_parameter_a_gradient,
                    keeps_the_graph_where_nothing_is_masked, looks_at_masked_positions_only, reads_no_more_than_it_says,
                    predicts_masked_positions,
                    keeps_no_backbone, runs_on_any_device, works_under_autocast, is_carried_by_its_state_dict,
                    refuses_a_misspelt_argument, is_copied)
OBJECTIVE_KIT = (is_registered, *OBJECTIVE_CHECKS, is_pickled, compiles_to_one_graph, trains_in_two_processes)


def check_objective(objective: Objective, features: Features, masked: MaskedTokens) -> None:
    """Check the returned terms, gradients, nothing masked, what is kept and looked at, devices, precision, state and copies.

    Args:
        objective: the objective.
        features: of a backbone that it goes with.
        masked: targets, with something masked.

    Raises:
        AssertionError: with the sentence of the contract that does not hold.
    """
    run_checks(OBJECTIVE_CHECKS, ObjectiveCase(objective, features=features, masked=masked))
