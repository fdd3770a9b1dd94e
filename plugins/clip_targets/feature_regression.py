"""The loss for features of another network."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ssvideo.models.backbones import Backbone
from ssvideo.models.objectives import Objective
from ssvideo.models.objectives.masked_prediction import gather_positions
from ssvideo.models.objectives.shared_norm import shared_norm
from ssvideo.models.tokenizers import Tokenizer
from ssvideo.registry import MODELS
from ssvideo.structures import Features, MaskedTokens


@MODELS.register_module()
class FeatureRegression(Objective):
    """Predict the features of masked positions, by one linear layer on the normalised features of a decoder.

    Args:
        backbone: given by the ``Pretrainer``; its ``channels`` are read and its final norm (its attribute ``norm``) is shared,
            so that the backbone that is fine-tuned has a trained one.
        tokenizer: given by the ``Pretrainer``; its ``target_dims`` are read.
        decoder: config of what brings the maps to the token grid, such as ``dict(type='ssvideo.SwinDecoder')``.
        distance: ``'cosine'``: 1 - cosine, as EVA; ``'smooth_l1'``: as MaskDistill.
        beta: where the smooth L1 distance turns from a square into a line.
        inputs: see :class:`Objective`.
        target: see :class:`Objective`.
        streams: see :class:`Objective`.
        loss_weight: see :class:`Objective`.

    Raises:
        ValueError: for another distance, a tokenizer of ids, or a backbone without a norm that fits the decoder.

    Source: EVA, arXiv:2211.07636; MaskDistill, arXiv:2210.10615.
    """

    def __init__(self, backbone: Backbone, tokenizer: Tokenizer | None = None, *, decoder: dict,
                 distance: Literal['cosine', 'smooth_l1'] = 'cosine', beta: float = 1.0,
                 inputs: Literal['masked', 'clean'] = 'masked', target: str | None = None,
                 streams: Sequence[str] | None = None, loss_weight: float = 1.0) -> None:
        super().__init__(backbone, tokenizer, inputs=inputs, target=target, streams=streams, loss_weight=loss_weight)
        if distance not in ('cosine', 'smooth_l1') or beta <= 0:
            raise ValueError("FeatureRegression: distance must be 'cosine' or 'smooth_l1' and beta positive, got "
                             f'{distance!r} and {beta}')
        if tokenizer is None or tokenizer.target_dims is None:
            raise ValueError('FeatureRegression needs a tokenizer with continuous targets, such as ssvideo.FeatureTargets; '
                             f'got {type(tokenizer).__name__}')
        self.decoder = MODELS.build(decoder, default_args=dict(channels=backbone.channels))
        dims = self.decoder.out_channels
        self.norm = shared_norm('FeatureRegression', backbone, dims)
        self.distance = distance
        self.beta = beta
        self.head = nn.Linear(dims, tokenizer.target_dims)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, features: Features, masked: MaskedTokens) -> dict[str, Tensor]:
        """Compute the loss.

        Args:
            features: its maps are decoded.
            masked: ``tokens`` are vectors.

        Returns:
            ``loss``; ``similarity``, mean cosine of predictions and targets; ``mean_similarity``, what the mean of this
            batch's targets would have, said everywhere. Where nothing is masked all are 0.
        """
        predicted = self.predict(features, masked).float()
        targets = gather_positions(masked.tokens, masked.positions)
        positions = max(len(targets), 1)
        cosines = F.cosine_similarity(predicted, targets, dim=1)
        if self.distance == 'cosine':
            loss = (1 - cosines).sum() / positions
        else:
            loss = F.smooth_l1_loss(predicted, targets, beta=self.beta, reduction='sum') / (positions * targets.shape[1])
        by_the_mean = F.cosine_similarity(targets, targets.mean(0, keepdim=True), dim=1)
        return dict(loss=loss, similarity=cosines.detach().sum() / positions, mean_similarity=by_the_mean.sum() / positions)

    def predict(self, features: Features, masked: MaskedTokens) -> Tensor:
        """``(P, C)`` at the masked positions."""
        decoded = self.decoder(features.maps, tuple(masked.mask.shape[1:]))
        return self.head(self.norm(gather_positions(decoded, masked.positions)))
