"""Signals of a healthy codebook."""
from __future__ import annotations

import torch
from torch import Tensor


def codebook_signals(tokens: Tensor, vocab_size: int) -> dict[str, Tensor]:
    """How many ids a batch uses, and how evenly.

    Args:
        tokens: ids, int64, of any shape.
        vocab_size: number of ids.

    Returns:
        ``codebook_perplexity``, the number of ids that would be as even as these, and ``codebook_use``, the share of
        the ids that occur; on the device of the tokens.
    """
    ones = torch.ones(tokens.numel(), device=tokens.device)
    counts = torch.zeros(vocab_size, device=tokens.device).scatter_add(0, tokens.flatten(), ones)
    return dict(codebook_perplexity=torch.special.entr(counts / tokens.numel()).sum().exp(),
                codebook_use=(counts > 0).float().mean())


def num_dead_codes(cluster_sizes: Tensor, threshold: float) -> Tensor:
    """How many codes are out of use, over the window of a moving average.

    Args:
        cluster_sizes: ``(vocab_size,)``, moving average of the tokens that each code gets in a step.
        threshold: a code at or below is dead; one that has just been revived stands exactly there. So is one with less
            than a hundredth of an even share.
    """
    return (cluster_sizes <= (cluster_sizes.mean() / 100).clamp_min(threshold)).float().sum()
