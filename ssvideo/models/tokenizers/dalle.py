"""The discrete variational auto-encoder of DALL-E as a tokenizer."""
from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ...registry import MODELS
from ..layers.dalle_blocks import picture_of, squeeze_range
from ..layers.resize_pixels import Filter
from .dalle_checkpoint import FORMAT, load_dalle
from .frame_tokenizer import FrameTokenizer


@MODELS.register_module()
class DalleTokenizer(FrameTokenizer):
    """Every 8 x 8 pixels of a frame to one id.

    Args:
        checkpoint: safetensors file, written by ``tools/convert_checkpoint.py dalle`` from the published weights, or
            by a trained ``DalleVAE``. Its metadata tells the architecture.
        frames_per_chunk: frames encoded or decoded at once; the rest waits, so that long clips do not need more memory.
        precision: ``'float32'``, or ``'bfloat16'``: faster where the device computes in it, slower elsewhere, and some ids differ
            (``docs/benchmarks.md``). Holds inside autocast, too.
        view_filter: how the ``Pretrainer`` resizes frames for it: ``'lanczos4'``, OpenCV's, as BEVT's code does, or
            ``'lanczos'``, Pillow's anti-aliased one, as BEiT's does.
        init_cfg: mmengine's; the weights come from ``checkpoint``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not a tokenizer's, or an argument is out of range.

    Source: DALL-E, arXiv:2102.12092, App. A; used by VIMPAC and BEVT.
    """
    stride = (1, 8, 8)
    file_format = FORMAT

    def __init__(self, checkpoint: str | Path, frames_per_chunk: int = 64,
                 precision: Literal['float32', 'bfloat16'] = 'float32', view_filter: Filter = 'lanczos4',
                 init_cfg: dict | None = None) -> None:
        super().__init__(frames_per_chunk, precision, view_filter, init_cfg)
        self.encoder, self.decoder = load_dalle(checkpoint)
        self.vocab_size = self.encoder.head.out_channels
        self.freeze()

    def tokens_of(self, pictures: Tensor) -> Tensor:
        """``(M, 3, H, W)`` in [0, 1] -> ``(M, H / 8, W / 8)`` int64, all at once."""
        return self.logits(pictures).argmax(1)

    def logits(self, pictures: Tensor) -> Tensor:
        """``(M, 3, H, W)`` in [0, 1] -> ``(M, vocab_size, H / 8, W / 8)``, all at once."""
        with self.autocast(pictures.device):
            pictures = squeeze_range(pictures).to(self.encoder.head.weight.dtype, memory_format=torch.channels_last)
            return self.encoder(pictures)

    def pictures_of(self, tokens: Tensor) -> Tensor:
        """``(M, h, w)`` int64 -> ``(M, 3, 8 h, 8 w)`` in [0, 1], all at once.

        Raises:
            ValueError: if the checkpoint has no decoder.
        """
        if self.decoder is None:
            raise ValueError('this tokenizer has no decoder: convert the checkpoint again with --decoder DECODER')
        with self.autocast(tokens.device):
            embedded = self.decoder.embed(tokens).contiguous(memory_format=torch.channels_last)
            return picture_of(self.decoder.from_embedding(embedded).float())
