"""The contract of a backbone, checked."""
from __future__ import annotations

import copy

import torch
from torch import Tensor

from ..models.backbones.base import Backbone
from ..structures import PAD, Features


def check_backbone(backbone: Backbone, inputs: Tensor, grid: tuple[int, int, int]) -> None:
    """Check shapes, hiding, PAD, gradients and the round trip of the weights.

    Args:
        backbone: the backbone.
        inputs: N >= 2 clips as the backbone reads them.
        grid: the token grid of ``inputs``.

    Raises:
        AssertionError: with the sentence of the contract that does not hold.
    """
    backbone.eval()
    mask = torch.zeros(len(inputs), *grid, dtype=torch.bool)
    mask[:, :, grid[1] // 2:] = True
    with torch.no_grad():
        plain, masked = backbone(inputs), backbone(inputs, mask)
    _check_features(backbone, plain, len(inputs))
    assert not torch.allclose(plain.maps[-1], masked.maps[-1]), 'hiding positions changes the features'
    _check_hidden_content(backbone, inputs, mask, masked)
    _check_gradients(backbone, inputs, mask)
    _check_weights(backbone, inputs, plain)


def _check_features(backbone: Backbone, features: Features, num_clips: int) -> None:
    assert backbone.reads in ('pixels', 'tokens'), f"reads is 'pixels' or 'tokens', got {backbone.reads!r}"
    assert len(features.maps) == len(backbone.channels), 'channels has one entry for each map'
    for features_map, channels in zip(features.maps, backbone.channels):
        assert features_map.dim() == 5 and features_map.shape[-1] == channels and len(features_map) == num_clips, \
            f'a map is (N, t, h, w, C) with C = {channels}, got {tuple(features_map.shape)}'
    assert features.summary.dim() == 2 and len(features.summary) == num_clips, 'summary is (N, C)'


def _check_hidden_content(backbone: Backbone, inputs: Tensor, mask: Tensor, masked: Features) -> None:
    """What is hidden cannot be seen: other content there gives the same features."""
    span = [size // cells for size, cells in zip(inputs.shape[-3:], mask.shape[1:])]
    where = mask
    for dim, repeat in enumerate(span, start=1):
        where = where.repeat_interleave(repeat, dim)
    where = where.unsqueeze(1) if inputs.dim() == 5 else where
    other = torch.where(where, inputs.roll(1, dims=0) if inputs.dtype == torch.int64 else inputs + 1, inputs)
    with torch.no_grad():
        features = backbone(other, mask)
    assert torch.allclose(features.summary, masked.summary, atol=1e-5), 'the content of hidden positions does not leak'
    if backbone.reads == 'tokens':
        padded = inputs.clone()
        padded[:, -1] = PAD
        with torch.no_grad():
            wins = backbone(padded, torch.ones_like(mask) & (padded == PAD))
            alone = backbone(padded)
        assert torch.isfinite(wins.summary).all(), 'PAD gives no NaN'
        assert torch.allclose(wins.summary, alone.summary, atol=1e-5), 'PAD wins over a mask'


def _check_gradients(backbone: Backbone, inputs: Tensor, mask: Tensor) -> None:
    backbone.zero_grad()
    features = backbone(inputs, mask)
    # weighted by position: the plain mean of a normalised map is a constant, whose gradient is zero
    weights = torch.linspace(-1, 1, features.summary.numel()).view_as(features.summary)
    loss = (features.summary * weights).sum()
    for features_map in features.maps:
        loss = loss + (features_map * torch.linspace(-1, 1, features_map.shape[-1])).sum()
    loss.backward()
    image_only = ('patch_embed_2d',)  # gets its gradient from one-frame clips
    without = [name for name, parameter in backbone.named_parameters()
               if parameter.requires_grad and parameter.grad is None and not name.startswith(image_only)]
    assert not without, f'gradients reach every trainable parameter; none reached {without}'


def _check_weights(backbone: Backbone, inputs: Tensor, plain: Features) -> None:
    other = copy.deepcopy(backbone)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    other.load_state_dict(backbone.state_dict())
    with torch.no_grad():
        assert torch.equal(other(inputs).summary, plain.summary), 'a state dict carries the whole backbone'
