"""VideoMAE's loss."""
from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ssvideo.models.backbones import Backbone
from ssvideo.models.objectives import Objective
from ssvideo.models.objectives.masked_prediction import gather_positions
from ssvideo.models.objectives.shared_norm import shared_norm
from ssvideo.models.tokenizers import Tokenizer
from ssvideo.registry import MODELS
from ssvideo.structures import Features, MaskedTokens

from .vit_blocks import initialise


@MODELS.register_module()
class PatchRegression(Objective):
    """Mean squared error of the targets at masked positions, predicted from visible tokens by a decoder with mask tokens.

    Args:
        backbone: given by the ``Pretrainer``; its ``channels`` are read and its final norm is shared, so that the
            backbone that is fine-tuned has a trained one.
        tokenizer: given by the ``Pretrainer``; its ``target_dims`` are read.
        decoder: config of a decoder that is told what is hidden, such as ``dict(type='ssvideo.MaskTokenDecoder')``.
        target: see :class:`Objective`.
        streams: see :class:`Objective`.
        loss_weight: see :class:`Objective`.

    Raises:
        ValueError: if the targets are ids, the backbone has no final norm of the width of its last map, or the decoder is not
            told what is hidden.

    Source: VideoMAE, arXiv:2203.12602, Sec. 3.
    """

    def __init__(self, backbone: Backbone, tokenizer: Tokenizer | None = None, *, decoder: dict, target: str | None = None,
                 streams: Sequence[str] | None = None, loss_weight: float = 1.0) -> None:
        super().__init__(backbone, tokenizer, target=target, streams=streams, loss_weight=loss_weight)
        if tokenizer is None or tokenizer.target_dims is None:
            raise ValueError('PatchRegression needs a tokenizer with continuous targets, such as ssvideo.PixelTargets; got '
                             f'{type(tokenizer).__name__}')
        self.norm = shared_norm('PatchRegression', backbone, backbone.channels[-1])
        self.decoder = MODELS.build(decoder, default_args=dict(channels=backbone.channels))
        if not getattr(self.decoder, 'fills_hidden', False):
            raise ValueError('PatchRegression needs a decoder that is told what is hidden, such as ssvideo.MaskTokenDecoder; got '
                             f'{type(self.decoder).__name__}')
        self.head = nn.Linear(self.decoder.out_channels, tokenizer.target_dims)
        self.head.apply(initialise)

    def predict(self, features: Features, masked: MaskedTokens) -> Tensor:
        """``(P, C)`` at the masked positions."""
        decoded = self.decoder(self.norm(features.maps[-1]), masked.mask)  # (N, t, h, w, C)
        return self.head(gather_positions(decoded, masked.positions))

    def forward(self, features: Features, masked: MaskedTokens) -> dict[str, Tensor]:
        """Return ``loss``; the sum of nothing, which is zero, where nothing is masked."""
        error = (self.predict(features, masked) - gather_positions(masked.tokens, masked.positions)).square()
        return dict(loss=error.sum() / max(error.numel(), 1))
