"""Trains an auto-encoder around finite scalar quantisation; what comes out is an ``FsqTokenizer``."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ssvideo.models.layers.peco_blocks import PecoDecoder, PecoEncoder
from ssvideo.models.layers.perceptual import PerceptualNetwork
from ssvideo.models.tokenizers.codebook_signals import codebook_signals
from ssvideo.models.tokenizers.trainer import TokenizerTrainer
from ssvideo.registry import MODELS

from .fsq_checkpoint import save_fsq
from .levels import build_quantizer

PIXEL_DISTANCES = dict(l1=F.l1_loss, l2=F.mse_loss)


@MODELS.register_module()
class FsqVAE(TokenizerTrainer):
    """Learns to rebuild pictures from features that are rounded, channel by channel, to a few levels.

    The codebook is the grid of all combinations of levels: no codes to learn, no commitment, no codes that fall out of
    use. Gradients pass the rounding straight through; the bound before it, a tanh, is differentiated.

    Args:
        levels: values that each channel of a code may take; their product is the vocabulary. The paper's for 2^8, 2^10,
            2^12, 2^14 and 2^16 codes: [8, 6, 5], [8, 5, 5, 5], [7, 5, 5, 5, 5], [8, 8, 8, 6, 5], [8, 8, 8, 5, 5, 5].
        perceptual: arguments of the ``PerceptualNetwork``; ``None`` for pixels alone.
        widths: channels of the encoder's stages, whose number makes the stride: 8 with four.
        num_blocks: residual blocks of a stage.
        attention: self-attention at the smallest stage.
        pixel_distance: ``'l1'`` or ``'l2'`` (squared), of pixels in [0, 1].
        perceptual_weight: of the perceptual distance.
        data_preprocessor: config; a ``ClipPreprocessor`` that does not normalise by default.
        init_cfg: mmengine's.

    Raises:
        ValueError: for levels, a size or a distance that does not exist.

    Source: FSQ, arXiv:2309.15505, Sec. 3 and Table 1; encoder and decoder are PeCo's.
    """

    def __init__(self, levels: Sequence[int], perceptual: dict | None, widths: Sequence[int] = (128, 128, 256, 512),
                 num_blocks: int = 2, attention: bool = True, pixel_distance: Literal['l1', 'l2'] = 'l1',
                 perceptual_weight: float = 1.0, data_preprocessor: dict | None = None,
                 init_cfg: dict | None = None) -> None:
        super().__init__(data_preprocessor, init_cfg)
        if pixel_distance not in PIXEL_DISTANCES:
            raise ValueError(f'FsqVAE: pixel_distance must be one of {sorted(PIXEL_DISTANCES)}, got {pixel_distance!r}')
        self.quantizer = build_quantizer(levels)
        self.levels = tuple(levels)
        self.architecture = dict(widths=tuple(widths), num_blocks=num_blocks, code_dims=len(levels), attention=attention)
        self.encoder = PecoEncoder(**self.architecture)
        self.decoder = PecoDecoder(**self.architecture)
        self.stride = self.encoder.stride
        self.perceptual = None if perceptual is None else PerceptualNetwork(**perceptual)
        self.vocab_size = self.quantizer.codebook_size
        self.pixel_distance = pixel_distance
        self.perceptual_weight = perceptual_weight
        self.to(memory_format=torch.channels_last)

    def loss(self, pictures: Tensor) -> dict[str, Tensor]:
        """The terms, and the signals of a healthy codebook.

        Args:
            pictures: ``(M, 3, H, W)`` in [0, 1].

        Returns:
            ``loss_pixels`` and ``loss_perceptual`` (where there is a network), weighted; ``psnr`` in dB,
            ``codebook_perplexity`` and ``codebook_use`` (share of the ids) of this batch.
        """
        codes, tokens = self.quantize(pictures)
        rebuilt = self.decoder(codes).float()
        losses = dict(loss_pixels=PIXEL_DISTANCES[self.pixel_distance](rebuilt, pictures))
        if self.perceptual is not None:
            losses['loss_perceptual'] = self.perceptual(rebuilt, pictures) * self.perceptual_weight
        return dict(**losses, psnr=-10 * F.mse_loss(rebuilt.detach().clamp(0, 1), pictures).log10(),
                    **codebook_signals(tokens, self.vocab_size))

    def quantize(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """``(M, 3, H, W)`` in [0, 1] -> codes ``(M, C, h, w)`` in [-1, 1], and their ids ``(M, h, w)`` int64."""
        features = self.encoder(pictures).float()
        with torch.autocast(features.device.type, enabled=False):  # levels are closer to each other than bfloat16 tells
            codes, tokens = self.quantizer(features)
        return codes, tokens.long()

    def tokenize(self, pictures: Tensor) -> Tensor:
        """``(M, 3, H, W)`` in [0, 1] -> ``(M, H / stride, W / stride)`` int64."""
        return self.quantize(pictures)[1]

    def decode(self, tokens: Tensor) -> Tensor:
        """``(M, h, w)`` int64 -> ``(M, 3, stride h, stride w)`` in [0, 1]."""
        return self.decoder(self.quantizer.indices_to_codes(tokens)).float().clamp(0, 1)

    def save_tokenizer(self, path: str | Path) -> None:
        """Write the file that ``FsqTokenizer(checkpoint=path)`` reads; the perceptual network is no part of it."""
        save_fsq(path, self.architecture, self.levels, self.encoder, self.decoder)
