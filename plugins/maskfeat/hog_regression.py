"""The loss of MaskFeat."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ssvideo.models.backbones import Backbone
from ssvideo.models.objectives import Objective
from ssvideo.models.objectives.masked_prediction import gather_positions
from ssvideo.models.objectives.shared_norm import shared_norm
from ssvideo.models.tokenizers import Tokenizer
from ssvideo.registry import MODELS
from ssvideo.structures import Features, MaskedTokens


@MODELS.register_module()
class HogRegression(Objective):
    """Mean squared error of continuous targets at masked positions, by one linear layer on the normalised features.

    Args:
        backbone: given by the ``Pretrainer``; its ``channels`` are read and its final norm (its attribute ``norm``) is shared,
            so that the backbone that is fine-tuned has a trained one.
        tokenizer: given by the ``Pretrainer``; its ``target_dims`` are read.
        decoder: config of what brings the maps to the token grid, with as many channels as the last map:
            ``ssvideo.LastMap`` for a ViT, ``ssvideo.SwinDecoder`` for Video Swin.
        inputs: see :class:`Objective`.
        target: see :class:`Objective`.
        streams: see :class:`Objective`.
        loss_weight: see :class:`Objective`.

    Raises:
        ValueError: if the tokenizer makes ids, or the backbone has no norm that fits the decoder.

    Source: MaskFeat, arXiv:2112.09133, Sec. 3.1.
    """

    def __init__(self, backbone: Backbone, tokenizer: Tokenizer | None = None, *, decoder: dict,
                 inputs: Literal['masked', 'clean'] = 'masked', target: str | None = None,
                 streams: Sequence[str] | None = None, loss_weight: float = 1.0) -> None:
        super().__init__(backbone, tokenizer, inputs=inputs, target=target, streams=streams, loss_weight=loss_weight)
        if tokenizer is None or tokenizer.target_dims is None:
            raise ValueError('HogRegression needs a tokenizer with continuous targets, such as ssvideo.HogTargets; '
                             f'got {type(tokenizer).__name__}')
        self.decoder = MODELS.build(decoder, default_args=dict(channels=backbone.channels))
        dims = self.decoder.out_channels
        self.norm = shared_norm('HogRegression', backbone, dims)
        self.head = nn.Linear(dims, tokenizer.target_dims)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, features: Features, masked: MaskedTokens) -> dict[str, Tensor]:
        """Compute the loss.

        Args:
            features: its maps are decoded.
            masked: ``tokens`` are vectors.

        Returns:
            ``loss`` and ``explained``, see :func:`explained_share`; where nothing is masked both are 0.
        """
        predicted = self.predict(features, masked).float()
        targets = gather_positions(masked.tokens, masked.positions)
        loss = (predicted - targets).square().sum() / max(targets.numel(), 1)
        return dict(loss=loss, explained=explained_share(predicted.detach(), targets))

    def predict(self, features: Features, masked: MaskedTokens) -> Tensor:
        """``(P, C)`` at the masked positions."""
        decoded = self.decoder(features.maps, tuple(masked.mask.shape[1:]))
        return self.head(self.norm(gather_positions(decoded, masked.positions)))


def explained_share(predicted: Tensor, targets: Tensor) -> Tensor:
    """How much of what the targets vary by is predicted.

    Args:
        predicted: ``(P, C)``.
        targets: ``(P, C)``.

    Returns:
        0-d: 1 for the truth, 0 for saying the batch's mean everywhere, negative for worse; 0 for fewer than two positions.
    """
    if len(targets) < 2:
        return torch.zeros((), device=targets.device)
    spread = (targets - targets.mean(0)).square().sum()
    return 1 - (predicted - targets).square().sum() / spread.clamp_min(1e-6)
