"""Smoothed cross entropy of hidden tokens."""
from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssvideo.models.backbones import Backbone
from ssvideo.models.objectives import Objective
from ssvideo.models.objectives.masked_prediction import gather_positions
from ssvideo.models.tokenizers import Tokenizer
from ssvideo.registry import MODELS
from ssvideo.structures import Features, MaskedTokens


@MODELS.register_module()
class MyPlugin(Objective):
    """A norm and a linear layer on the backbone's last map score all ids; the targets are smoothed.

    Args:
        backbone: its ``channels`` are read, and its final norm is shared where it has one.
        tokenizer: its ``vocab_size`` is read.
        label_smoothing: share of the target that is spread over all ids, in [0, 1).
        target: see :class:`~ssvideo.models.objectives.Objective`.
        streams: see :class:`~ssvideo.models.objectives.Objective`.
        loss_weight: see :class:`~ssvideo.models.objectives.Objective`.

    Raises:
        ValueError: if the tokenizer makes no ids, or ``label_smoothing`` cannot be used.

    Source: label smoothing, arXiv:1512.00567, Sec. 7.
    """

    def __init__(self, backbone: Backbone, tokenizer: Tokenizer | None = None, label_smoothing: float = 0.1,
                 target: str | None = None, streams: Sequence[str] | None = None, loss_weight: float = 1.0) -> None:
        super().__init__(backbone, tokenizer, target=target, streams=streams, loss_weight=loss_weight)
        if tokenizer is None or tokenizer.vocab_size is None:
            raise ValueError(f'MyPlugin predicts ids, and {type(tokenizer).__name__} makes none: configure a tokenizer of ids')
        if not 0 <= label_smoothing < 1:
            raise ValueError(f'MyPlugin: label_smoothing must lie in [0, 1), got {label_smoothing}')
        self.label_smoothing = label_smoothing
        shared = getattr(backbone, 'norm', None)  # nothing else here would train it
        self.norm = shared if isinstance(shared, nn.LayerNorm) else nn.LayerNorm(backbone.channels[-1])
        self.classifier = nn.Linear(backbone.channels[-1], tokenizer.vocab_size)

    def logits(self, features: Features, masked: MaskedTokens) -> Tensor:
        """Score all ids at the masked positions: ``(P, vocabulary)``."""
        last = features.maps[-1].movedim(-1, 1)  # (N, C, t, h, w)
        on_grid = F.interpolate(last, size=tuple(masked.mask.shape[1:]), mode='nearest').movedim(1, -1)
        return self.classifier(self.norm(gather_positions(on_grid, masked.positions)))

    def forward(self, features: Features, masked: MaskedTokens) -> dict[str, Tensor]:
        """Return ``loss`` and ``accuracy``; zeros where nothing is masked."""
        logits = self.logits(features, masked).float()
        if logits.shape[0] == 0:
            return dict(loss=logits.sum(), accuracy=logits.detach().sum())
        targets = gather_positions(masked.tokens, masked.positions)
        return dict(loss=F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing),
                    accuracy=(logits.detach().argmax(1) == targets).to(torch.float32).mean())

    def predict(self, features: Features, masked: MaskedTokens) -> Tensor:
        """``(P,)`` ids that score highest."""
        return self.logits(features, masked).argmax(1)
