"""Patches of pixels as continuous targets."""
from __future__ import annotations

from torch import Tensor

from ssvideo.models.tokenizers import Tokenizer
from ssvideo.registry import MODELS

from .cut_patches import cut_patches


@MODELS.register_module()
class PixelTargets(Tokenizer):
    """The pixels of a patch are its target; nothing is learnt, nothing is loaded.

    Args:
        stride: frames, pixels and pixels of one patch.
        normalise: subtract each patch's mean and divide by its standard deviation.
        colours_apart: whether mean and deviation are those of each colour, or of the three together.

    Source: masked autoencoders, arXiv:2111.06377, Sec. 3 (normalised pixels as targets); colours apart: VideoMAE,
        arXiv:2203.12602, published code.
    """
    independent_frames = True

    def __init__(self, stride: tuple[int, int, int] = (1, 16, 16), normalise: bool = True, colours_apart: bool = False) -> None:
        super().__init__()
        self.stride = tuple(stride)
        self.normalise = normalise
        self.colours_apart = colours_apart
        self.target_dims = 3 * stride[0] * stride[1] * stride[2]

    def forward(self, pixels: Tensor) -> Tensor:
        """Cut into patches: ``(N, 3, T, H, W)`` in [0, 1] -> ``(N, t, h, w, C)``."""
        patches = cut_patches(pixels, self.stride)
        if not self.normalise:
            return patches
        values = patches.unflatten(-1, (3 if self.colours_apart else 1, -1))  # what is normalised together is the last axis
        variance, mean = values.var(-1, keepdim=True), values.mean(-1, keepdim=True)
        return ((values - mean) / (variance + 1e-6).sqrt()).flatten(-2)

    def decode(self, tokens: Tensor) -> Tensor:
        """Put patches together again; normalised ones are shown around mid-grey, since their mean is not known."""
        frames, height, width = self.stride
        shown = 0.5 + 0.2 * tokens if self.normalise else tokens
        pixels = (shown.unflatten(-1, (3, frames, height, width)).permute(0, 4, 1, 5, 2, 6, 3, 7)
                  .flatten(6).flatten(4, 5).flatten(2, 3))  # (N, 3, T, H, W)
        return pixels.clamp(0, 1)
