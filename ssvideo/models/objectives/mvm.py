"""Masked video modelling: predict the tokens of hidden positions from pixels."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ...registry import MODELS
from ...structures import Features, MaskedTokens
from ..backbones.base import Backbone
from ..tokenizers.base import Tokenizer
from .base import Objective
from .masked_prediction import gather_positions, masked_cross_entropy, masked_linear_cross_entropy
from .shared_norm import shared_norm


@MODELS.register_module()
class MVM(Objective):
    """Cross entropy of the tokens at masked positions; on an image stream this is masked image modelling.

    A decoder brings the maps to the token grid; the backbone's final norm, shared, and one linear classifier follow,
    the same for images and videos and at masked positions only.

    Args:
        backbone: its ``channels`` are read, its final norm is shared.
        tokenizer: its ``vocab_size`` is read; ``None`` where tokens come from a store.
        decoder: config of the decoder, such as ``dict(type='ssvideo.SwinDecoder')``; ``channels`` are given to it.
        vocab_size: number of token ids; ``None`` asks the tokenizer.
        share_norm: whether the norm before the classifier *is* the backbone's (its attribute ``norm``), so that
            fine-tuning inherits a trained one. ``False`` makes an own one.
        inputs: see :class:`Objective`.
        target: see :class:`Objective`.
        streams: see :class:`Objective`.
        loss_weight: see :class:`Objective`.

    Raises:
        ValueError: if the size of the vocabulary is not known or contradicts the tokenizer, or the backbone has no
            norm that fits the decoder.

    Source: BEVT, arXiv:2112.01529, Sec. 3, Eqs. 3-5.
    """

    def __init__(self, backbone: Backbone, tokenizer: Tokenizer | None = None, *, decoder: dict,
                 vocab_size: int | None = None, share_norm: bool = True,
                 inputs: Literal['masked', 'clean'] = 'masked', target: str | None = None,
                 streams: Sequence[str] | None = None, loss_weight: float = 1.0) -> None:
        super().__init__(backbone, tokenizer, inputs=inputs, target=target, streams=streams, loss_weight=loss_weight)
        self.decoder = MODELS.build(decoder, default_args={'channels': backbone.channels})
        dims = self.decoder.out_channels
        self.norm = shared_norm('MVM', backbone, dims) if share_norm else nn.LayerNorm(dims)
        self.vocab_size = _num_classes(tokenizer, vocab_size)
        self.classifier = nn.Linear(dims, self.vocab_size)
        nn.init.trunc_normal_(self.classifier.weight, std=0.02)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, features: Features, masked: MaskedTokens) -> dict[str, Tensor]:
        """Compute the loss.

        Args:
            features: its maps are decoded.
            masked: ``tokens`` are ids.

        Returns:
            ``loss``, ``accuracy`` and perplexities; see :func:`masked_cross_entropy`.
        """
        targets = gather_positions(masked.tokens, masked.positions)
        if not torch.is_grad_enabled():
            return masked_cross_entropy(self.logits(features, masked), targets)
        hidden = self._hidden(features, masked)
        return masked_linear_cross_entropy(hidden, self.classifier.weight, self.classifier.bias, targets)

    def logits(self, features: Features, masked: MaskedTokens) -> Tensor:
        """Score all ids at the masked positions: ``(P, vocabulary)``."""
        return self.classifier(self._hidden(features, masked))

    def _hidden(self, features: Features, masked: MaskedTokens) -> Tensor:
        """What the classifier reads at the masked positions: ``(P, C)``."""
        decoded = self.decoder(features.maps, tuple(masked.mask.shape[1:]))  # (N, t, h, w, C)
        return self.norm(gather_positions(decoded, masked.positions))

    def predict(self, features: Features, masked: MaskedTokens) -> Tensor:
        """``(P,)`` ids that score highest."""
        return self.logits(features, masked).argmax(1)


def _num_classes(tokenizer: Tokenizer | None, vocab_size: int | None) -> int:
    if tokenizer is None:
        if vocab_size is None:
            raise ValueError('MVM needs vocab_size where there is no tokenizer: set it to the number of token ids')
        return vocab_size
    if tokenizer.vocab_size is None:
        raise ValueError(f'MVM predicts ids, but {type(tokenizer).__name__} makes continuous targets; '
                         'choose another tokenizer or a regression objective')
    if vocab_size not in (None, tokenizer.vocab_size):
        raise ValueError(f'MVM: vocab_size={vocab_size}, but {type(tokenizer).__name__} has '
                         f'{tokenizer.vocab_size} ids; leave vocab_size out')
    return tokenizer.vocab_size
