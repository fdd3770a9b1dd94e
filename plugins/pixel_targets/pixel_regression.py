"""The loss for continuous targets."""
from __future__ import annotations

from torch import Tensor, nn

from ssvideo.models.backbones import Backbone
from ssvideo.models.objectives import Objective
from ssvideo.models.objectives.masked_prediction import gather_positions
from ssvideo.models.objectives.shared_norm import shared_norm
from ssvideo.models.tokenizers import Tokenizer
from ssvideo.registry import MODELS
from ssvideo.structures import Features, MaskedTokens


@MODELS.register_module()
class PixelRegression(Objective):
    """Mean squared error of the targets at masked positions.

    Args:
        backbone: given by the ``Pretrainer``; its ``channels`` are read and its final norm is shared, so that the
            backbone that is fine-tuned has a trained one.
        tokenizer: given by the ``Pretrainer``; its ``target_dims`` are read.
        decoder: config of the decoder that brings the maps to the token grid.
        target: name of the tokenizer, where there are several.
        loss_weight: factor of the loss.

    Raises:
        ValueError: if the tokenizer makes ids, or the backbone has no norm that fits the decoder.
    """

    def __init__(self, backbone: Backbone, tokenizer: Tokenizer, *, decoder: dict, target: str | None = None,
                 loss_weight: float = 1.0) -> None:
        super().__init__(backbone, tokenizer, target=target, loss_weight=loss_weight)
        if tokenizer is None or tokenizer.target_dims is None:
            raise ValueError('PixelRegression needs a tokenizer with continuous targets, such as ssvideo.PixelTargets; '
                             f'got {type(tokenizer).__name__}')
        self.decoder = MODELS.build(decoder, default_args=dict(channels=backbone.channels))
        self.norm = shared_norm('PixelRegression', backbone, self.decoder.out_channels)
        self.head = nn.Linear(self.decoder.out_channels, tokenizer.target_dims)

    def predict(self, features: Features, masked: MaskedTokens) -> Tensor:
        """``(P, C)`` at the masked positions."""
        decoded = self.decoder(features.maps, tuple(masked.mask.shape[1:]))
        return self.head(self.norm(gather_positions(decoded, masked.positions)))

    def forward(self, features: Features, masked: MaskedTokens) -> dict[str, Tensor]:
        """Return ``loss``; the sum of nothing, which is zero, where nothing is masked."""
        error = (self.predict(features, masked) - gather_positions(masked.tokens, masked.positions)).square()
        return dict(loss=error.sum() / max(error.numel(), 1))
