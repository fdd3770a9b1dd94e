"""The contract of a tokenizer."""
from __future__ import annotations

from abc import abstractmethod

from mmengine.model import BaseModule
from torch import Tensor

from ..layers.resize_pixels import Filter


class Tokenizer(BaseModule):
    """Turns pixels into prediction targets: discrete ids, or vectors (pixels, HOG, features of another network).

    A tokenizer is frozen in pre-training: the ``Pretrainer`` keeps it in eval mode and calls it under
    ``torch.inference_mode``.

    Attributes:
        vocab_size: number of ids; ``None`` for continuous targets.
        stride: frames, pixels and pixels that one token covers, ``(1, 8, 8)`` for DALL-E. The view that a tokenizer is
            shown has the size of the token grid times this stride.
        target_dims: C of continuous targets; ``None`` for ids.
        independent_frames: whether a token frame depends on its own ``stride[0]`` frames alone. Then only the frames
            that hold a masked token are tokenized.
        view_filter: how frames are resized to the view, a word of :func:`~..layers.resize_pixels.resize_pixels`. It
            belongs to the tokenizer, as ids mean what they were learned to mean on pictures resized in one way only;
            several tokenizers of one model may differ. Without effect where the view has the size of the frames.
        file_format: ``format`` in the metadata of the files that its constructor reads as the first argument, by which
            ``load_tokenizer`` finds the class; ``None`` for a tokenizer without a file.
    """
    vocab_size: int | None = None
    stride: tuple[int, int, int]
    target_dims: int | None = None
    independent_frames: bool = False
    view_filter: Filter = 'lanczos4'
    file_format: str | None = None

    @abstractmethod
    def forward(self, pixels: Tensor) -> Tensor:
        """Tokenize.

        Args:
            pixels: ``(N, 3, T, H, W)`` float in [0, 1], sides multiples of ``stride``.

        Returns:
            ``(N, t, h, w)`` int64 ids, or ``(N, t, h, w, C)`` float.
        """

    def decode(self, tokens: Tensor) -> Tensor:
        """Turn tokens back into ``(N, 3, T, H, W)`` pixels in [0, 1].

        Raises:
            NotImplementedError: if this tokenizer has no decoder.
        """
        raise NotImplementedError(f'{type(self).__name__} has no decoder: its tokens cannot be turned into pixels')
