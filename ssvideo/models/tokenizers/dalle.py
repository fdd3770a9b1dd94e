"""The discrete variational auto-encoder of DALL-E as a tokenizer."""
from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ...registry import MODELS
from ..layers.dalle_blocks import picture_of, squeeze_range
from .base import Tokenizer
from .dalle_checkpoint import load_dalle


@MODELS.register_module()
class DalleTokenizer(Tokenizer):
    """Every 8 x 8 pixels of a frame to one id.

    Args:
        checkpoint: safetensors file, written by ``tools/convert_checkpoint.py dalle`` from the published weights, or
            by a trained ``DalleVAE``. Its metadata tells the architecture.
        frames_per_chunk: frames encoded or decoded at once; the rest waits, so that long clips do not need more memory.
        precision: ``'float32'``, or ``'bfloat16'`` (faster; a few ids differ). Holds inside autocast, too.
        init_cfg: mmengine's; the weights come from ``checkpoint``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not a tokenizer's.

    Source: DALL-E, arXiv:2102.12092, App. A; used by VIMPAC and BEVT.
    """
    stride = (1, 8, 8)
    independent_frames = True

    def __init__(self, checkpoint: str | Path, frames_per_chunk: int = 64,
                 precision: Literal['float32', 'bfloat16'] = 'float32', init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if frames_per_chunk < 1:
            raise ValueError(f'DalleTokenizer: frames_per_chunk must be at least 1, got {frames_per_chunk}')
        if precision not in ('float32', 'bfloat16'):
            raise ValueError(f"DalleTokenizer: precision must be 'float32' or 'bfloat16', got {precision!r}")
        self.encoder, self.decoder = load_dalle(checkpoint)
        self.vocab_size = self.encoder.head.out_channels
        self.frames_per_chunk = frames_per_chunk
        self.precision = precision
        self.to(memory_format=torch.channels_last)  # a quarter faster on a CPU, more on tensor cores
        self.requires_grad_(False).eval()

    def forward(self, pixels: Tensor) -> Tensor:
        """Tokenize.

        Args:
            pixels: ``(N, 3, T, H, W)`` float in [0, 1], H and W multiples of 8.

        Returns:
            ``(N, T, H / 8, W / 8)`` int64.

        Raises:
            ValueError: for another shape or type.
        """
        if pixels.ndim != 5 or pixels.shape[1] != 3 or not pixels.is_floating_point():
            raise ValueError('DalleTokenizer: pixels must be (N, 3, T, H, W) float in [0, 1], got '
                             f'{tuple(pixels.shape)} {pixels.dtype}')
        if pixels.shape[-2] % 8 or pixels.shape[-1] % 8:
            raise ValueError(f'DalleTokenizer: height and width must be multiples of 8, got {tuple(pixels.shape[-2:])}')
        frames = pixels.transpose(1, 2)  # (N, T, 3, H, W)
        tokens = torch.cat([self.logits(chunk).argmax(1) for chunk in self._chunks(frames.flatten(0, 1))])
        return tokens.unflatten(0, frames.shape[:2])

    def logits(self, pictures: Tensor) -> Tensor:
        """``(N, 3, H, W)`` in [0, 1] -> ``(N, vocab_size, H / 8, W / 8)``, all at once."""
        with self._precision(pictures.device):
            return self.encoder(squeeze_range(pictures).contiguous(memory_format=torch.channels_last))

    def decode(self, tokens: Tensor) -> Tensor:
        """``(N, t, h, w)`` int64 -> ``(N, 3, t, 8 h, 8 w)`` in [0, 1].

        Raises:
            ValueError: if an id is out of range (PAD is), or the checkpoint has no decoder.
        """
        if self.decoder is None:
            raise ValueError('this tokenizer has no decoder: convert the checkpoint again with --decoder DECODER')
        if tokens.min() < 0 or tokens.max() >= self.vocab_size:
            raise ValueError(f'DalleTokenizer.decode: ids must lie in [0, {self.vocab_size}), got '
                             f'{tokens.min().item()} to {tokens.max().item()}; leave out frames of PAD')
        frames = torch.cat([self._decode(chunk) for chunk in self._chunks(tokens.flatten(0, 1))])
        return frames.unflatten(0, tokens.shape[:2]).transpose(1, 2)

    def _decode(self, tokens: Tensor) -> Tensor:
        with self._precision(tokens.device):
            embedded = self.decoder.embed(tokens).contiguous(memory_format=torch.channels_last)
            return picture_of(self.decoder.from_embedding(embedded).float())

    def _chunks(self, frames: Tensor) -> tuple[Tensor, ...]:
        return frames.split(self.frames_per_chunk)

    def _precision(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == 'bfloat16')
