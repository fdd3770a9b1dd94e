"""What a pre-trained model would put where it cannot see."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..models.objectives.base import Objective
from ..models.pretrainer import Pretrainer
from ..models.tokenizers.base import Tokenizer
from ..structures import PAD, Clips


@dataclass
class Reconstruction:
    """One stream of clips, as it was, as it was masked, and as it was predicted.

    Args:
        frames: ``(N, 3, T, H, W)`` uint8; ``None`` where the clips came from a token store.
        mask: ``(N, t, h, w)`` bool, True = hidden.
        tokenized: ``(N, 3, T, H', W')`` in [0, 1], decoded from the true tokens: the best a prediction can be.
        predicted: the same with the predicted tokens where the mask is True.
    """
    frames: Tensor | None
    mask: Tensor
    tokenized: Tensor
    predicted: Tensor


@torch.no_grad()
def reconstruct_masked(model: Pretrainer, inputs: Mapping[str, Clips],
                       tokenizer: Tokenizer | None = None) -> dict[str, Reconstruction]:
    """Mask clips as in pre-training and decode what the model predicts at the masked positions.

    Args:
        model: the model; put into eval mode.
        inputs: clips by stream, as the model's preprocessor makes them.
        tokenizer: decodes the tokens; needed only where the model reads them from a store and has none itself.

    Returns:
        A reconstruction for each stream that an objective predicts tokens for.

    Raises:
        ValueError: if there is no tokenizer to decode with.
    """
    model.eval()
    found = {}
    for stream, clips in inputs.items():
        named = [(name, o) for name, o in model.objectives_of(stream) if type(o).predict is not Objective.predict]
        if not named:
            continue
        _, objective = named[0]
        decoder = tokenizer or _tokenizer_of(model, objective)
        mask = model.draw_mask(stream, clips)
        targets = model.tokenize(stream, clips, mask, everywhere=True)
        masked = targets[objective.target or model.default_target]
        features = model.encode(stream, clips, targets, mask)[objective.inputs]
        predicted = objective.predict(features, masked)
        flat = masked.tokens.flatten(0, 3)
        filled = flat.index_copy(0, masked.positions, predicted.to(flat.dtype)).view_as(masked.tokens)
        found[stream] = Reconstruction(clips.frames, masked.mask, _decode(decoder, masked.tokens),
                                       _decode(decoder, filled))
    return found


def _tokenizer_of(model: Pretrainer, objective: Objective) -> Tokenizer:
    if not model.tokenizers:
        raise ValueError('this model reads tokens from a store and has no tokenizer to decode them: pass tokenizer=')
    return model.tokenizers[objective.target or model.default_target]


def _decode(tokenizer: Tokenizer, tokens: Tensor) -> Tensor:
    return tokenizer.decode(tokens.where(tokens != PAD, 0) if tokenizer.vocab_size else tokens)
