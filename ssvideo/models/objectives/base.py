"""The contract of an objective."""
from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal

from mmengine.model import BaseModule
from torch import Tensor

from ...structures import Features, MaskedTokens
from ..backbones.base import Backbone
from ..tokenizers.base import Tokenizer


class Objective(BaseModule):
    """Turns features into a loss. Owns its decoder and head, so that a fine-tuned backbone carries nothing of them.

    Args:
        backbone: given by the ``Pretrainer``. An objective may read its ``channels`` and share a parameter of it; it
            must not keep the backbone itself.
        tokenizer: given by the ``Pretrainer``: the tokenizer of ``target``, whose ``vocab_size`` or ``target_dims``
            may be read; ``None`` where tokens come from a store.
        inputs: ``'masked'`` features, or ``'clean'`` ones (an unmasked encoding, made once for all that ask).
        target: name of the tokenizer that makes the targets, where there are several.
        streams: names of the streams to serve; ``None`` serves all.
        loss_weight: factor of the loss in the sum.

    Attributes:
        positions_only: whether the maps are read at the masked positions only, or not at all; a backbone may then leave out
            the others.
        num_pairs: videos of two clips that the loss compares at once, where that may be more than a batch. The loop
            then sees to it that ``Features.compared`` holds their summaries. ``None``: what a batch holds.
    """

    positions_only: bool = False
    num_pairs: int | None = None

    def __init__(self, backbone: Backbone, tokenizer: Tokenizer | None = None,
                 inputs: Literal['masked', 'clean'] = 'masked', target: str | None = None,
                 streams: Sequence[str] | None = None, loss_weight: float = 1.0) -> None:
        super().__init__()
        if inputs not in ('masked', 'clean'):
            raise ValueError(f"{type(self).__name__}: inputs must be 'masked' or 'clean', got {inputs!r}")
        self.inputs = inputs
        self.target = target
        self.streams = None if streams is None else tuple(streams)
        self.loss_weight = loss_weight

    @abstractmethod
    def forward(self, features: Features, masked: MaskedTokens) -> dict[str, Tensor]:
        """Compute the loss.

        Args:
            features: of the masked or the clean clips, as ``inputs`` asks.
            masked: targets and positions.

        Returns:
            ``{'loss': 0-d}`` plus metrics, each 0-d, whose names do not contain "loss". Where no position is masked
            the loss is a zero that keeps the graph, never NaN.
        """

    def predict(self, features: Features, masked: MaskedTokens) -> Tensor:
        """What the objective would put at the masked positions, for pictures.

        Args:
            features: as for :meth:`forward`.
            masked: only ``positions`` are read.

        Returns:
            ``(P,)`` int64 ids, or ``(P, C)`` float for continuous targets.

        Raises:
            NotImplementedError: if this objective predicts no tokens.
        """
        raise NotImplementedError(f'{type(self).__name__} predicts no tokens')
