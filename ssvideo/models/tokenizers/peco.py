"""PeCo's vector-quantised auto-encoder as a tokenizer."""
from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from ...registry import MODELS
from ..layers.nearest_codes import nearest_codes
from ..layers.resize_pixels import Filter
from .frame_tokenizer import FrameTokenizer
from .peco_checkpoint import FORMAT, load_peco


@MODELS.register_module()
class PecoTokenizer(FrameTokenizer):
    """Every square of a frame to the id of the code nearest to its features: 16 x 16 pixels as published.

    Args:
        checkpoint: safetensors file, written by a trained ``PecoVQVAE``. Its metadata tells the architecture, and so
            the stride.
        frames_per_chunk: frames encoded or decoded at once; the rest waits, so that long clips do not need more memory.
        precision: ``'float32'``, or ``'bfloat16'`` (faster; a few ids differ). Holds inside autocast, too.
        view_filter: how the ``Pretrainer`` resizes frames for it, where the view is not the frames themselves: ``'lanczos4'``
            (OpenCV's) or ``'lanczos'`` (Pillow's, anti-aliased).
        init_cfg: mmengine's; the weights come from ``checkpoint``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not a PeCo tokenizer's, or an argument is out of range.

    Source: PeCo, arXiv:2111.12710; BEVT's tables have it beside DALL-E's.
    """
    file_format = FORMAT

    def __init__(self, checkpoint: str | Path, frames_per_chunk: int = 64,
                 precision: Literal['float32', 'bfloat16'] = 'float32', view_filter: Filter = 'lanczos4',
                 init_cfg: dict | None = None) -> None:
        super().__init__(frames_per_chunk, precision, view_filter, init_cfg)
        self.encoder, self.decoder, codebook = load_peco(checkpoint)
        self.register_buffer('codebook', codebook)
        self.vocab_size = len(codebook)
        self.stride = (1, self.encoder.stride, self.encoder.stride)
        self.freeze()

    def tokens_of(self, pictures: Tensor) -> Tensor:
        """``(M, 3, H, W)`` in [0, 1] -> ``(M, h, w)`` int64, all at once."""
        with self.autocast(pictures.device):
            features = self.encoder(pictures)
        return nearest_codes(features, self.codebook)

    def pictures_of(self, tokens: Tensor) -> Tensor:
        """``(M, h, w)`` int64 -> ``(M, 3, H, W)`` in [0, 1], all at once."""
        codes = F.embedding(tokens, self.codebook).permute(0, 3, 1, 2)  # channels last
        with self.autocast(tokens.device):
            return self.decoder(codes).float().clamp(0, 1)
