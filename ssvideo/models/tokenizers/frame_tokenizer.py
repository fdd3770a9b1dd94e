"""What tokenizers of single frames share: the way through the frames of clips."""
from __future__ import annotations

from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from ..layers.resize_pixels import FILTERS, Filter
from .base import Tokenizer


class FrameTokenizer(Tokenizer):
    """Makes ids of each frame by itself; a subclass says how, for a batch of pictures.

    Args:
        frames_per_chunk: frames encoded or decoded at once; the rest waits, so that long clips do not need more memory.
        precision: ``'float32'``, or ``'bfloat16'`` (faster; a few ids differ). Holds inside autocast, too.
        view_filter: how the ``Pretrainer`` resizes frames for it.
        init_cfg: mmengine's.

    Raises:
        ValueError: if an argument is out of range.
    """
    independent_frames = True

    def __init__(self, frames_per_chunk: int, precision: Literal['float32', 'bfloat16'], view_filter: Filter,
                 init_cfg: dict | None) -> None:
        super().__init__(init_cfg)
        if frames_per_chunk < 1:
            raise ValueError(f'{type(self).__name__}: frames_per_chunk must be at least 1, got {frames_per_chunk}')
        if precision not in ('float32', 'bfloat16'):
            raise ValueError(f"{type(self).__name__}: precision must be 'float32' or 'bfloat16', got {precision!r}")
        if view_filter not in FILTERS:
            raise ValueError(f'{type(self).__name__}: view_filter must be one of {FILTERS}, got {view_filter!r}')
        self.frames_per_chunk = frames_per_chunk
        self.precision = precision
        self.view_filter = view_filter

    @abstractmethod
    def tokens_of(self, pictures: Tensor) -> Tensor:
        """``(M, 3, H, W)`` in [0, 1], channels last -> ``(M, h, w)`` int64."""

    @abstractmethod
    def pictures_of(self, tokens: Tensor) -> Tensor:
        """``(M, h, w)`` int64 -> ``(M, 3, H, W)`` in [0, 1]."""

    def forward(self, pixels: Tensor) -> Tensor:
        """Tokenize.

        Args:
            pixels: ``(N, 3, T, H, W)`` float in [0, 1], H and W multiples of the stride.

        Returns:
            ``(N, T, h, w)`` int64.

        Raises:
            ValueError: for another shape or type.
        """
        name, step = type(self).__name__, self.stride[1]
        if pixels.ndim != 5 or pixels.shape[1] != 3 or not pixels.is_floating_point():
            raise ValueError(f'{name}: pixels must be (N, 3, T, H, W) float in [0, 1], got {tuple(pixels.shape)} {pixels.dtype}')
        if pixels.shape[-2] % step or pixels.shape[-1] % step:
            raise ValueError(f'{name}: height and width must be multiples of {step}, got {tuple(pixels.shape[-2:])}')
        frames = pixels.transpose(1, 2)  # (N, T, 3, H, W)
        chunks = frames.flatten(0, 1).split(self.frames_per_chunk)
        tokens = [self.tokens_of(chunk.contiguous(memory_format=torch.channels_last)) for chunk in chunks]
        return torch.cat(tokens).unflatten(0, frames.shape[:2])

    def decode(self, tokens: Tensor) -> Tensor:
        """``(N, t, h, w)`` int64 -> ``(N, 3, t, H, W)`` in [0, 1].

        Raises:
            ValueError: if an id is out of range (PAD is).
        """
        if tokens.min() < 0 or tokens.max() >= self.vocab_size:
            raise ValueError(f'{type(self).__name__}.decode: ids must lie in [0, {self.vocab_size}), got '
                             f'{tokens.min().item()} to {tokens.max().item()}; leave out frames of PAD')
        chunks = tokens.flatten(0, 1).split(self.frames_per_chunk)
        frames = torch.cat([self.pictures_of(chunk) for chunk in chunks])
        return frames.unflatten(0, tokens.shape[:2]).transpose(1, 2)

    def freeze(self) -> None:
        """For the end of a constructor: no gradients, eval mode, the faster memory format, and convolutions in ``precision``."""
        if self.precision == 'bfloat16':  # as autocast would have them, but once, and in half of the memory
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    module.bfloat16()
        self.to(memory_format=torch.channels_last)  # a quarter faster on a CPU, more on tensor cores
        self.requires_grad_(False).eval()

    def autocast(self, device: torch.device) -> torch.autocast:
        """The context in which the tokenizer's own precision holds."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == 'bfloat16')
