"""How good a tokenizer is on given pictures: what it loses, and how much of its codebook it uses."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..models.tokenizers.base import Tokenizer
from ..models.tokenizers.codebook_signals import codebook_signals


@dataclass
class TokenizerQuality:
    """What was measured.

    Args:
        tokens: ids of all pictures in one row, int64, on the host.
        vocab_size: number of ids there are.
        psnr: of each picture, in dB.
        shown: some pictures and what came back, ``(3, H, W)`` in [0, 1] each, on the host.
    """
    tokens: Tensor
    vocab_size: int
    psnr: list[float]
    shown: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def summary(self) -> dict:
        """Plain numbers, for JSON.

        Returns:
            ``num_pictures``, ``num_tokens``, ``vocab_size``; ``codebook_use``, the share of the ids that occur;
            ``codebook_perplexity``, the number of ids that would be as even; ``dead_ids``, those that do not occur;
            ``psnr``, the mean over the pictures in dB, and ``psnr_of_pictures``.
        """
        signals = {name: value.item() for name, value in codebook_signals(self.tokens, self.vocab_size).items()}
        counts = torch.bincount(self.tokens, minlength=self.vocab_size)
        return dict(
            num_pictures=len(self.psnr), num_tokens=len(self.tokens), vocab_size=self.vocab_size, **signals,
            dead_ids=(counts == 0).nonzero().flatten().tolist(), psnr=sum(self.psnr) / len(self.psnr),
            psnr_of_pictures=self.psnr)


@torch.inference_mode()
def measure_tokenizer(tokenizer: Tokenizer, pictures: Iterable[Tensor], num_shown: int = 8) -> TokenizerQuality:
    """Take pictures to ids and back.

    Args:
        tokenizer: one of ids, with a decoder, in eval mode.
        pictures: ``(3, H, W)`` uint8 each, on any device; sizes may differ and are multiples of the stride.
        num_shown: pictures to keep, the first ones.

    Returns:
        The measurements.

    Raises:
        ValueError: if there is no picture, or the tokenizer makes vectors.
    """
    if tokenizer.vocab_size is None:
        raise ValueError(f'{type(tokenizer).__name__} makes vectors: it has no codebook to look at')
    device = next(tokenizer.parameters()).device
    tokens, psnr, shown = [], [], []
    for picture in pictures:
        pixels = picture.to(device).float()[None, :, None] / 255  # (1, 3, 1, H, W)
        found = tokenizer(pixels)
        rebuilt = tokenizer.decode(found)
        error = (rebuilt - pixels).square().mean().clamp_min(1e-10)  # 100 dB at most: JSON has no infinity
        psnr.append(-10 * error.log10().item())
        tokens.append(found.flatten().cpu())
        if len(shown) < num_shown:
            shown.append((pixels[0, :, 0].cpu(), rebuilt[0, :, 0].cpu()))
    if not tokens:
        raise ValueError('there is no picture to measure the tokenizer on')
    return TokenizerQuality(torch.cat(tokens), tokenizer.vocab_size, psnr, shown)
