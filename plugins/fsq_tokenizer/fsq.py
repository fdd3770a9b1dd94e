"""Finite scalar quantisation as a tokenizer."""
from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ssvideo.models.layers.resize_pixels import Filter
from ssvideo.models.tokenizers.frame_tokenizer import FrameTokenizer
from ssvideo.registry import MODELS

from .fsq_checkpoint import FORMAT, load_fsq


@MODELS.register_module()
class FsqTokenizer(FrameTokenizer):
    """Every square of a frame to the id of a point on a grid: each channel of its features is rounded by itself.

    The id is the number that the channels' levels spell, the first channel being the last digit:
    ``sum_i digit_i * prod_{j < i} levels_j``.

    Args:
        checkpoint: safetensors file, written by a trained ``FsqVAE``. Its metadata tells levels and architecture, and so
            the vocabulary and the stride.
        frames_per_chunk: frames encoded or decoded at once; the rest waits, so that long clips do not need more memory.
        precision: ``'float32'``, or ``'bfloat16'`` (faster; a few ids differ). Holds inside autocast, too.
        view_filter: how the ``Pretrainer`` resizes frames for it, where the view is not the frames themselves: ``'lanczos4'``
            (OpenCV's) or ``'lanczos'`` (Pillow's, anti-aliased).
        init_cfg: mmengine's; the weights come from ``checkpoint``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not an FSQ tokenizer's, or an argument is out of range.

    Source: FSQ, arXiv:2309.15505, Sec. 3.
    """
    file_format = FORMAT

    def __init__(self, checkpoint: str | Path, frames_per_chunk: int = 64,
                 precision: Literal['float32', 'bfloat16'] = 'float32', view_filter: Filter = 'lanczos4',
                 init_cfg: dict | None = None) -> None:
        super().__init__(frames_per_chunk, precision, view_filter, init_cfg)
        self.encoder, self.decoder, self.quantizer = load_fsq(checkpoint)
        # the quantiser keeps its levels out of the state dict, and the ids' checksum must know them
        self.register_buffer('levels', self.quantizer._levels.clone())
        self.vocab_size = self.quantizer.codebook_size
        self.stride = (1, self.encoder.stride, self.encoder.stride)
        self.freeze()

    def tokens_of(self, pictures: Tensor) -> Tensor:
        """``(M, 3, H, W)`` in [0, 1] -> ``(M, h, w)`` int64, all at once."""
        with self.autocast(pictures.device):
            features = self.encoder(pictures)
        with torch.autocast(pictures.device.type, enabled=False):
            return self.quantizer(features.float())[1].long()

    def pictures_of(self, tokens: Tensor) -> Tensor:
        """``(M, h, w)`` int64 -> ``(M, 3, H, W)`` in [0, 1], all at once."""
        codes = self.quantizer.indices_to_codes(tokens)
        with self.autocast(tokens.device):
            return self.decoder(codes.contiguous(memory_format=torch.channels_last)).float().clamp(0, 1)
