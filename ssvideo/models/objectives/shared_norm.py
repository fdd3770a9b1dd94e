"""The norm before a head, which is the backbone's own."""
from __future__ import annotations

from torch import nn

from ..backbones.base import Backbone


def shared_norm(objective: str, backbone: Backbone, dims: int) -> nn.LayerNorm:
    """The final norm of a backbone, for a head that shares it, so that what is fine-tuned has a trained one.

    Args:
        objective: name of the class, for the error.
        backbone: its attribute ``norm`` is meant.
        dims: channels that the norm will be given.

    Raises:
        ValueError: if the backbone has no such norm, or it has another width.
    """
    norm = getattr(backbone, 'norm', None)
    if not isinstance(norm, nn.LayerNorm) or norm.normalized_shape != (dims,):
        raise ValueError(f'{objective} shares the final norm of the backbone; {type(backbone).__name__}.norm is {norm} and the '
                         f'decoder makes {dims} channels; set share_norm=False, where the objective has that word, or use a '
                         'backbone and a decoder that fit each other')
    return norm
