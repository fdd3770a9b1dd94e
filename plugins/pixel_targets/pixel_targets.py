"""Patches of pixels as continuous targets."""
from __future__ import annotations

from torch import Tensor

from ssvideo.models.tokenizers import Tokenizer
from ssvideo.registry import MODELS


@MODELS.register_module()
class PixelTargets(Tokenizer):
    """The pixels of a patch are its target; nothing is learnt, nothing is loaded.

    Args:
        stride: frames, pixels and pixels of one patch.
        normalise: subtract each patch's mean and divide by its standard deviation, colours together.

    Source: masked autoencoders, arXiv:2111.06377, Sec. 3 (normalised pixels as targets).
    """
    independent_frames = True

    def __init__(self, stride: tuple[int, int, int] = (1, 16, 16), normalise: bool = True) -> None:
        super().__init__()
        self.stride = tuple(stride)
        self.normalise = normalise
        self.target_dims = 3 * stride[0] * stride[1] * stride[2]

    def forward(self, pixels: Tensor) -> Tensor:
        """Cut into patches: ``(N, 3, T, H, W)`` in [0, 1] -> ``(N, t, h, w, C)``."""
        frames, height, width = self.stride
        patches = (pixels.unflatten(4, (-1, width)).unflatten(3, (-1, height)).unflatten(2, (-1, frames))
                   .permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4))  # (N, t, h, w, 3 * frames * height * width)
        if not self.normalise:
            return patches
        variance, mean = patches.var(-1, keepdim=True), patches.mean(-1, keepdim=True)
        return (patches - mean) / (variance + 1e-6).sqrt()

    def decode(self, tokens: Tensor) -> Tensor:
        """Put patches together again; normalised ones are shown around mid-grey, since their mean is not known."""
        frames, height, width = self.stride
        shown = 0.5 + 0.2 * tokens if self.normalise else tokens
        pixels = (shown.unflatten(-1, (3, frames, height, width)).permute(0, 4, 1, 5, 2, 6, 3, 7)
                  .flatten(6).flatten(4, 5).flatten(2, 3))  # (N, 3, T, H, W)
        return pixels.clamp(0, 1)
