"""Pictures of tokens, and how far apart pictures are."""
from __future__ import annotations

import torch
from torch import Tensor

from ..models.layers.resize_mask import resize_mask
from ..models.tokenizers.base import Tokenizer
from ..structures import PAD


def decode_tokens(tokenizer: Tokenizer, tokens: Tensor) -> Tensor:
    """Decode tokens of which some may be ``PAD``.

    Args:
        tokenizer: one with a decoder.
        tokens: ``(N, t, h, w)`` int64, or ``(N, t, h, w, C)`` float.

    Returns:
        ``(N, 3, T, H, W)`` in [0, 1], black where there is no video.
    """
    if tokenizer.vocab_size is None:
        return tokenizer.decode(tokens)
    pad = tokens == PAD
    pictures = tokenizer.decode(tokens.masked_fill(pad, 0))
    return pictures.masked_fill(pixels_of(pad, pictures), 0)


def pixels_of(mask: Tensor, pictures: Tensor) -> Tensor:
    """The pixels that the tokens of a mask cover: ``(N, t, h, w)`` to ``(N, 1, T, H, W)`` bool."""
    return resize_mask(mask, tuple(pictures.shape[2:])).unsqueeze(1)


def psnr(pictures: Tensor, reference: Tensor, where: Tensor) -> float:
    """Peak signal-to-noise ratio over some pixels.

    Args:
        pictures: ``(N, 3, T, H, W)`` in [0, 1].
        reference: the same.
        where: ``(N, 1, T, H, W)`` bool, the pixels that count.

    Returns:
        dB; 100 at most, as JSON has no infinity.

    Raises:
        ValueError: if no pixel counts.
    """
    if not where.any():
        raise ValueError('PSNR over no pixel: nothing is hidden, or there is no video')
    error = (pictures - reference).square().mean(1, keepdim=True)[where].double().mean()
    return -10 * torch.log10(error.clamp_min(1e-10)).item()
