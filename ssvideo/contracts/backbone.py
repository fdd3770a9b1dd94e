"""The contract of a backbone, checked."""
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..models.backbones.base import Backbone
from ..structures import PAD, Features
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
class BackboneCase(Case):
    """A backbone, and what it encodes.

    Args:
        part: the backbone.
        arguments: see :class:`Case`.
        inputs: N >= 2 clips as the backbone reads them.
        grid: the token grid of ``inputs``.
    """
    part: Backbone
    inputs: Tensor = None
    grid: tuple[int, int, int] = (4, 4, 4)

    @property
    def mask(self) -> Tensor:
        """``(N, t, h, w)``: the lower half of every frame is hidden."""
        mask = torch.zeros(len(self.inputs), *self.grid, dtype=torch.bool)
        mask[:, :, self.grid[1] // 2:] = True
        return mask

    @torch.no_grad()
    def encode(self, inputs: Tensor | None = None, mask: Tensor | None = None) -> Features:
        """What a copy in eval mode makes of clips; of :attr:`inputs` by default."""
        return self.fresh().eval()(self.inputs if inputs is None else inputs, mask)


def returns_maps_and_a_summary(case: BackboneCase) -> None:
    """Features are maps, fine to coarse, (N, t, h, w, C) with C as in ``channels``; and a summary, (N, C)."""
    features, number = case.encode(), len(case.inputs)
    assert case.part.reads in ('pixels', 'tokens'), f"reads is 'pixels' or 'tokens', got {case.part.reads!r}."
    assert len(features.maps) == len(case.part.channels), \
        f'channels has one entry for each map, got {len(case.part.channels)} for {len(features.maps)} maps.'
    for features_map, channels in zip(features.maps, case.part.channels):
        assert features_map.dim() == 5 and features_map.shape[-1] == channels and len(features_map) == number, \
            f'a map is (N, t, h, w, C) with N = {number} and C = {channels}, got {tuple(features_map.shape)}.'
    assert features.summary.dim() == 2 and len(features.summary) == number, \
        f'summary is (N, C) with N = {number}, got {tuple(features.summary.shape)}.'


def returns_finite_floats(case: BackboneCase) -> None:
    """Features are finite floats of the weights' precision."""
    features = case.encode()
    for name, found in (('summary', features.summary), *((f'map {i}', found) for i, found in enumerate(features.maps))):
        assert found.dtype == torch.float32, f'The {name} is {found.dtype}, the weights are float32.'
        assert torch.isfinite(found).all(), f'The {name} is not finite.'


def hides_what_is_masked(case: BackboneCase) -> None:
    """Hiding positions changes the features, and the content of hidden positions does not leak."""
    mask = case.mask
    plain, masked = case.encode(), case.encode(mask=mask)
    assert not torch.allclose(plain.maps[-1], masked.maps[-1]), 'Hiding positions changes nothing: is the mask used?'
    span = [size // cells for size, cells in zip(case.inputs.shape[-3:], case.grid)]
    for dim, repeat in enumerate(span, start=1):
        mask = mask.repeat_interleave(repeat, dim)
    where = mask.unsqueeze(1) if case.inputs.dim() == 5 else mask
    other = case.inputs.roll(1, dims=0) if case.inputs.dtype == torch.int64 else case.inputs + 1
    features = case.encode(torch.where(where, other, case.inputs), case.mask)
    assert torch.allclose(features.summary, masked.summary, atol=1e-5), \
        'Other content at hidden positions gives other features: the content of hidden positions does not leak.'


def lets_pad_win(case: BackboneCase) -> None:
    """A position with no video behind it (PAD) gives no NaN, and PAD wins over a mask."""
    if case.part.reads != 'tokens':
        return
    padded = case.inputs.clone()
    padded[:, -1] = PAD
    wins, alone = case.encode(padded, padded == PAD), case.encode(padded)
    assert torch.isfinite(wins.summary).all(), 'PAD gave NaN.'
    assert torch.allclose(wins.summary, alone.summary, atol=1e-5), 'Masking a PAD changes the features.'


def uses_what_it_is_told(case: BackboneCase) -> None:
    """Told what it ``knows`` (that no token is PAD, which positions are read) it gives the same summary, and features there."""
    backbone, mask = case.fresh().eval(), case.mask
    positions = mask.flatten().nonzero().squeeze(1)
    told = dict(whole=True, positions=positions)
    assert told.keys() >= set(case.part.knows), f"knows names 'whole' and 'positions', got {case.part.knows}."
    plain = case.encode(mask=mask)
    for name in case.part.knows:
        try:
            with torch.no_grad():
                features = backbone(case.inputs, mask, **{name: told[name]})
        except TypeError as error:
            raise AssertionError(f'knows names {name!r}, and forward does not take it: {error}.') from error
        assert features.maps[-1].shape == plain.maps[-1].shape, f'With {name} the last map is {tuple(features.maps[-1].shape)}.'
        read, expected = (found.maps[-1].flatten(0, 3)[positions] for found in (features, plain))
        assert torch.allclose(read, expected, atol=1e-5) and torch.allclose(features.summary, plain.summary, atol=1e-5), \
            f'With {name} it gives other features.'


def gives_every_parameter_a_gradient(case: BackboneCase) -> None:
    """Gradients reach every trainable parameter, but those that only one-frame clips use."""
    backbone = case.fresh()
    BackboneStep(backbone)(case.inputs, case.mask).backward()
    without = without_gradient(backbone, but=_OF_IMAGES)
    assert not without, f'None reached {without}: use them, or leave them out, for DDP waits for each.'


def encodes_clips_apart(case: BackboneCase) -> None:
    """In eval mode a clip's features are its own, whatever else is in the batch, and the same each time."""
    both, again = case.encode(), case.encode()
    assert torch.equal(both.summary, again.summary), 'The same clips gave other features the second time.'
    alone = case.encode(case.inputs[:1])
    assert torch.allclose(alone.summary, both.summary[:1], atol=1e-4), 'A clip alone gives other features than in a batch.'


def is_carried_by_its_state_dict(case: BackboneCase) -> None:
    """A state dict carries the whole backbone: loaded into another, it gives the same features."""
    other = shifted(case.part).eval()
    other.load_state_dict(case.part.state_dict())
    with torch.no_grad():
        summary = other(case.inputs).summary
    assert torch.equal(summary, case.encode().summary), 'It gives others: register what decides in buffers.'


def runs_on_any_device(case: BackboneCase) -> None:
    """No device is written into it, and the host never waits for a value: torch's meta device runs it."""
    with torch.no_grad(), on_meta():
        mask = case.mask if case.part.mask_on_host else case.mask.to('meta')
        there = case.fresh().eval().to('meta')(case.inputs.to('meta'), mask)
    here = case.encode(mask=case.mask)
    assert there.summary.device.type == 'meta', f'The summary of clips on meta is on {there.summary.device}.'
    shapes = [tuple(found.shape) for found in (*there.maps, there.summary)]
    assert shapes == [tuple(found.shape) for found in (*here.maps, here.summary)], f'It gives {shapes} there.'


def works_under_autocast(case: BackboneCase) -> None:
    """Autocast to bfloat16 trains it: features and gradients are finite."""
    backbone = case.fresh()
    with torch.autocast('cpu', torch.bfloat16):
        loss = BackboneStep(backbone)(case.inputs, case.mask)
    loss.backward()
    assert torch.isfinite(loss), 'The features are not finite.'
    bad = [name for name, parameter in backbone.named_parameters()
           if parameter.grad is not None and not torch.isfinite(parameter.grad).all()]
    assert not bad, f'The gradients of {bad} are not finite.'


def compiles_to_one_graph(case: BackboneCase) -> None:
    """``torch.compile`` takes the whole of it as one graph, with the same features.

    Where the host reads the mask (``mask_on_host``), a graph ends there; then it is one where nothing is hidden.
    """
    backbone, mask = case.fresh().eval(), None if case.part.mask_on_host else case.mask
    with torch.no_grad():
        try:
            features = compiled(backbone)(case.inputs, mask)
        except torch._dynamo.exc.TorchDynamoException as error:
            raise not_one_graph(error) from error
    assert torch.allclose(features.summary, case.encode(mask=mask).summary, atol=1e-4), 'The graph gives other features.'


def trains_in_two_processes(case: BackboneCase) -> None:
    """Two processes agree on the gradients, and none waits for a parameter that is not used."""
    backbone = case.fresh()
    for name, parameter in backbone.named_parameters():
        if name.startswith(_OF_IMAGES):
            parameter.requires_grad_(False)
    halves = zip(case.inputs.chunk(2), case.mask.chunk(2))
    train_in_two_processes(BackboneStep(backbone), [(inputs.clone(), mask.clone()) for inputs, mask in halves])


class BackboneStep(nn.Module):
    """A number that depends on all features of a backbone.

    Args:
        backbone: the backbone.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """0-d. Weighted by position: the plain mean of a normalised map is a constant, whose gradient is zero."""
        features = self.backbone(inputs, mask)
        loss = (features.summary * torch.linspace(-1, 1, features.summary.numel()).view_as(features.summary)).sum()
        for features_map in features.maps:
            loss = loss + (features_map * torch.linspace(-1, 1, features_map.shape[-1])).sum()
        return loss


_OF_IMAGES = ('patch_embed_2d',)
"""Gets its gradient from one-frame clips."""
BACKBONE_CHECKS = (returns_maps_and_a_summary, returns_finite_floats, hides_what_is_masked, lets_pad_win, uses_what_it_is_told,
                   gives_every_parameter_a_gradient, encodes_clips_apart, is_carried_by_its_state_dict, runs_on_any_device,
                   works_under_autocast, refuses_a_misspelt_argument, is_copied)
BACKBONE_KIT = (is_registered, *BACKBONE_CHECKS, is_pickled, compiles_to_one_graph, trains_in_two_processes)


def check_backbone(backbone: Backbone, inputs: Tensor, grid: tuple[int, int, int]) -> None:
    """Check shapes, types, hiding, PAD, gradients, the weights' round trip, devices, precision, copies and arguments.

    Args:
        backbone: the backbone.
        inputs: N >= 2 clips as the backbone reads them.
        grid: the token grid of ``inputs``.

    Raises:
        AssertionError: with the sentence of the contract that does not hold.
    """
    run_checks(BACKBONE_CHECKS, BackboneCase(backbone, inputs=inputs, grid=grid))
