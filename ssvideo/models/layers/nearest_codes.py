"""Which code of a codebook is nearest to a feature."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def nearest_codes(features: Tensor, codebook: Tensor) -> Tensor:
    """The id of the nearest code at every position, always in float32.

    The distance is Euclidean. Codes of a codebook that was learned with the cosine have norm 1, and for such the
    nearest is the one of the greatest cosine.

    Args:
        features: ``(M, C, h, w)``.
        codebook: ``(vocab_size, C)`` float32.

    Returns:
        ``(M, h, w)`` int64.
    """
    with torch.autocast(features.device.type, enabled=False):
        # |f - c|^2 is least where f c - |c|^2 / 2 is greatest
        scores = F.linear(features.float().permute(0, 2, 3, 1), codebook, codebook.square().sum(1) / -2)
        return scores.argmax(-1)
