"""What a pre-trained model would put where it cannot see."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..evaluation.nearest_copy import copy_nearest
from ..evaluation.token_pictures import decode_tokens, pixels_of, psnr
from ..models.objectives.base import Objective
from ..models.pretrainer import Pretrainer
from ..models.tokenizers.base import Tokenizer
from ..structures import PAD, Clips
from ..visualization.frames import to_frames
from ..visualization.masks import shade


@dataclass
class Reconstruction:
    """One stream of clips, as it was, as it was masked, and as it was predicted.

    What the model was not shown is in ``frames``, ``tokens`` and ``tokenized`` alone: ``predicted`` is decoded from the
    tokens that were visible and from predictions. (A visible token is computed by the tokenizer from somewhat more
    pixels than its own, in training as here.)

    Args:
        frames: ``(N, 3, T, H, W)`` uint8; ``None`` where the clips came from a token store.
        mask: ``(N, t, h, w)`` bool, True = hidden.
        tokens: ``(N, t, h, w)`` int64, or ``(N, t, h, w, C)`` float, the true tokens.
        filled: the same with predictions where the mask is True.
        tokenized: ``(N, 3, T, H', W')`` in [0, 1], decoded from ``tokens``: the best a prediction can be.
        predicted: decoded from ``filled``.
    """
    frames: Tensor | None
    mask: Tensor
    tokens: Tensor
    filled: Tensor
    tokenized: Tensor
    predicted: Tensor

    def rows(self, clip: int) -> dict[str, np.ndarray]:
        """The rows of VIMPAC's Fig. 5 for one clip, each ``(T, H, W, 3)`` uint8: ``'frames'`` (where there are any),
        ``'after the tokenizer'``, ``'masked area'`` and ``'model'``.

        The last two do not depend on what is hidden: where there are no frames, it is the model's picture that is
        covered, as a decoder spreads each true token over the pixels of its neighbours.
        """
        visible = self.predicted if self.frames is None else self.frames
        rows = {} if self.frames is None else {'frames': to_frames(self.frames[clip])}
        return rows | {'after the tokenizer': to_frames(self.tokenized[clip]),
                       'masked area': shade(to_frames(visible[clip]), self.mask[clip].cpu().numpy()),
                       'model': to_frames(self.predicted[clip])}

    def measure(self, clip: int) -> dict[str, float]:
        """How right a clip's prediction is.

        Returns:
            ``hidden``, the share of hidden tokens; the PSNR in dB of ``predicted`` against ``tokenized``, within the
            hidden tokens' pixels (``psnr_hidden``) and over the whole clip (``psnr``). Of ids also, over hidden
            positions: ``accuracy``, and ``copy_accuracy``, that of copying the nearest visible tokens instead.

        Raises:
            ValueError: if nothing is hidden, or nothing visible.
        """
        tokens, filled, mask = (x[clip:clip + 1] for x in (self.tokens, self.filled, self.mask))
        is_ids = tokens.ndim == 4
        video = tokens != PAD if is_ids else torch.ones_like(mask)
        pictures, truth = self.predicted[clip:clip + 1], self.tokenized[clip:clip + 1]
        found = dict(hidden=mask.sum().item() / video.sum().item(),
                     psnr_hidden=psnr(pictures, truth, pixels_of(mask, pictures)),
                     psnr=psnr(pictures, truth, pixels_of(video, pictures)))
        if is_ids:
            copied = copy_nearest(tokens, mask, across_time=True)
            found |= dict(accuracy=(filled == tokens)[mask].double().mean().item(),
                          copy_accuracy=(copied == tokens)[mask].double().mean().item())
        return found


@torch.no_grad()
def reconstruct_masked(model: Pretrainer, inputs: Mapping[str, Clips],
                       tokenizer: Tokenizer | None = None) -> dict[str, Reconstruction]:
    """Mask clips and decode what the model predicts at the masked positions.

    Positions are masked as in pre-training, but that all of them are hidden: what noisy masking keeps as it is or
    replaces by a random id, would be seen.

    Args:
        model: the model; put into eval mode.
        inputs: clips by stream, as the model's preprocessor makes them.
        tokenizer: decodes the tokens; needed only where the model reads them from a store and has none itself.

    Returns:
        A reconstruction for each stream that an objective predicts tokens for from masked clips.

    Raises:
        ValueError: if there is no tokenizer to decode with.

    Source: VIMPAC, arXiv:2106.11250, App. G.3 and Fig. 5.
    """
    model.eval()
    found = {}
    for stream, clips in inputs.items():
        predicting = [o for _, o in model.objectives_of(stream)
                      if type(o).predict is not Objective.predict and o.inputs == 'masked']
        if not predicting:
            continue
        objective = predicting[0]
        decoder = tokenizer or _tokenizer_of(model, objective)
        mask = model.draw_mask(stream, clips) != 0
        targets = model.tokenize(stream, clips, mask, everywhere=True)
        masked = targets[objective.target or model.default_target]
        features = model.encode(stream, clips, targets, mask)['masked']
        predicted = objective.predict(features, masked)
        flat = masked.tokens.flatten(0, 3)
        filled = flat.index_copy(0, masked.positions, predicted.to(flat.dtype)).view_as(masked.tokens)
        found[stream] = Reconstruction(clips.frames, masked.mask, masked.tokens, filled,
                                       decode_tokens(decoder, masked.tokens), decode_tokens(decoder, filled))
    return found


def _tokenizer_of(model: Pretrainer, objective: Objective) -> Tokenizer:
    if not model.tokenizers:
        raise ValueError('this model reads tokens from a store and has no tokenizer to decode them: pass tokenizer=')
    return model.tokenizers[objective.target or model.default_target]
