"""What trainers of tokenizers share: pictures in, and mmengine's entry."""
from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path

import torch
from mmengine.model import BaseModel
from torch import Tensor

from ...registry import MODELS
from ...structures import Clips


class TokenizerTrainer(BaseModel):
    """Learns a vocabulary from pictures; every frame of a clip is one.

    Args:
        data_preprocessor: config; a ``ClipPreprocessor`` that does not normalise by default.
        init_cfg: mmengine's.

    Attributes:
        stride: pixels of height and of width that one token covers.
    """
    stride: int

    def __init__(self, data_preprocessor: dict | None, init_cfg: dict | None) -> None:
        super().__init__(MODELS.build(data_preprocessor or dict(type='ClipPreprocessor')), init_cfg)

    @abstractmethod
    def loss(self, pictures: Tensor) -> dict[str, Tensor]:
        """``(M, 3, H, W)`` in [0, 1] -> terms of the loss, and signals."""

    @abstractmethod
    def tokenize(self, pictures: Tensor) -> Tensor:
        """``(M, 3, H, W)`` in [0, 1] -> ``(M, h, w)`` int64."""

    @abstractmethod
    def decode(self, tokens: Tensor) -> Tensor:
        """``(M, h, w)`` int64 -> ``(M, 3, H, W)`` in [0, 1]."""

    @abstractmethod
    def save_tokenizer(self, path: str | Path) -> None:
        """Write the file that the tokenizer reads."""

    def forward(self, inputs: Mapping[str, Clips] | Clips, data_samples: list | None = None, mode: str = 'tensor'):
        """mmengine's entry.

        Args:
            inputs: clips by stream (or of the only stream); the ``frames`` of all streams must have one size.
            data_samples: not used.
            mode: ``'loss'``, see :meth:`loss`; ``'tensor'`` for the ids ``(M, h, w)`` of all M frames; ``'predict'`` for
                their reconstructions from these ids, ``(M, 3, H, W)`` in [0, 1].

        Raises:
            ValueError: for another mode, or frames that do not fit.
        """
        pictures = self.pictures(inputs)
        if mode == 'loss':
            return self.loss(pictures)
        if mode == 'tensor':
            return self.tokenize(pictures)
        if mode == 'predict':
            return self.decode(self.tokenize(pictures))
        raise ValueError(f"{type(self).__name__}.forward: mode must be 'loss', 'tensor' or 'predict', got {mode!r}")

    def pictures(self, inputs: Mapping[str, Clips] | Clips) -> Tensor:
        """All frames of a batch as ``(M, 3, H, W)`` float in [0, 1].

        Raises:
            ValueError: if a stream has no frames, or sizes differ or are no multiples of the stride.
        """
        name = type(self).__name__
        streams = inputs if isinstance(inputs, Mapping) else {'the only one': inputs}
        for stream, clips in streams.items():
            if clips.frames is None:
                raise ValueError(f'{name} learns from frames, and the stream {stream!r} brings none')
        sizes = {tuple(clips.frames.shape[-2:]) for clips in streams.values()}
        if len(sizes) > 1 or any(side % self.stride for side in min(sizes)):
            raise ValueError(f'{name}: all frames must have one size, multiples of {self.stride}, got {sorted(sizes)}')
        frames = torch.cat([clips.frames.transpose(1, 2).flatten(0, 1) for clips in streams.values()])
        return (frames.float() / 255).contiguous(memory_format=torch.channels_last)
