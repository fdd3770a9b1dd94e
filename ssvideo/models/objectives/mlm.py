"""Predict hidden tokens with the backbone's own embedding table."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...registry import MODELS
from ...structures import Features, MaskedTokens
from ..backbones.base import Backbone
from ..tokenizers.base import Tokenizer
from .base import Objective
from .masked_prediction import gather_positions, masked_cross_entropy, masked_linear_cross_entropy


@MODELS.register_module()
class MLM(Objective):
    """Mask-then-predict over tokens, its output matrix tied to the backbone's embedding.

    ``embedding`` *is* the backbone's parameter, registered here a second time, as PyTorch ties weights: optimisers
    and DDP see it once (mmengine's optimiser constructors need ``bypass_duplicate=True``), moving, casting and copying
    the whole model keeps the tie, and a state dict names it twice with equal values. ``Module.to_empty`` breaks any
    tie: do not train a model made on the meta device that way.

    Args:
        backbone: one with a ``token_embedding``; see :class:`Objective` for this and the remaining arguments.
        tokenizer: the one that makes the targets; its ids must be those that the backbone reads.
        inputs: features of masked or of clean clips.
        target: name of the tokenizer that makes the targets.
        streams: streams to serve.
        loss_weight: factor of the loss.

    Raises:
        ValueError: if the backbone has no embedding table, or the tokenizer another vocabulary.

    Source: VIMPAC, arXiv:2106.11250, Sec. 3.1, Eqs. 16 and 17.
    """

    positions_only = True

    def __init__(self, backbone: Backbone, tokenizer: Tokenizer | None = None,
                 inputs: Literal['masked', 'clean'] = 'masked', target: str | None = None,
                 streams: Sequence[str] | None = None, loss_weight: float = 1.0) -> None:
        super().__init__(backbone, tokenizer, inputs=inputs, target=target, streams=streams, loss_weight=loss_weight)
        if not hasattr(backbone, 'token_embedding'):
            raise ValueError(f'MLM ties its output to backbone.token_embedding, which {type(backbone).__name__} lacks; '
                             'use MVM, whose classifier is its own')
        if tokenizer is not None and tokenizer.vocab_size is None:
            raise ValueError(f'MLM predicts ids, but {type(tokenizer).__name__} makes continuous targets; choose '
                             'a tokenizer of ids')
        if tokenizer is not None and tokenizer.vocab_size != backbone.vocab_size:
            raise ValueError(f'MLM: {type(tokenizer).__name__} makes {tokenizer.vocab_size} ids, but the backbone was '
                             f'built with vocab_size={backbone.vocab_size}; make them equal')
        self.vocab_size = backbone.vocab_size
        self.embedding = backbone.token_embedding.weight  # (vocabulary with special rows, C)
        num_rows, dims = self.embedding.shape
        self.transform = nn.Sequential(nn.Linear(dims, dims), nn.GELU(), nn.LayerNorm(dims, eps=1e-12))
        self.bias = nn.Parameter(torch.zeros(num_rows))
        nn.init.normal_(self.transform[0].weight, std=0.02)  # BERT
        nn.init.zeros_(self.transform[0].bias)

    def logits(self, hidden: Tensor) -> Tensor:
        """Score all ids, special ones included: ``(P, C)`` -> ``(P, vocabulary)``."""
        return F.linear(self.transform(hidden), self.embedding, self.bias)

    def forward(self, features: Features, masked: MaskedTokens) -> dict[str, Tensor]:
        """Return ``loss``, ``accuracy`` and perplexities over hidden tokens; see :func:`masked_cross_entropy`."""
        hidden = gather_positions(features.maps[-1], masked.positions)  # (P, C)
        targets = gather_positions(masked.tokens, masked.positions)
        if not torch.is_grad_enabled():
            return masked_cross_entropy(self.logits(hidden), targets)
        return masked_linear_cross_entropy(self.transform(hidden), self.embedding, self.bias, targets)

    def predict(self, features: Features, masked: MaskedTokens) -> Tensor:
        """``(P,)`` ids that score highest among those a clip can hold: the special rows are left out."""
        scores = self.logits(gather_positions(features.maps[-1], masked.positions))
        return scores[:, :self.vocab_size].argmax(1)
