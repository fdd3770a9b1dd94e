"""Cut clips into patches and embed them."""
from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class PatchEmbed(nn.Module):
    """Embeds non-overlapping patches of pixels, with a norm.

    Args:
        patch_size: frames, pixels and pixels of a patch.
        dims: C of an embedding.
    """

    def __init__(self, patch_size: tuple[int, int, int], dims: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv3d(3, dims, kernel_size=patch_size, stride=patch_size)
        self.norm = nn.LayerNorm(dims)

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed.

        Args:
            pixels: ``(N, 3, T, H, W)``; sides that patches do not fill are padded with zeros at their far end.

        Returns:
            ``(N, t, h, w, C)``.
        """
        short = [-side % patch for side, patch in zip(pixels.shape[2:], self.patch_size)]
        if any(short):
            pixels = F.pad(pixels, (0, short[2], 0, short[1], 0, short[0]))
        for axis, patch in zip((2, 4, 6), self.patch_size):
            pixels = pixels.unflatten(axis, (-1, patch))
        patches = pixels.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4)  # (N, t, h, w, values of a patch)
        # A convolution whose stride is its kernel is a linear map of patches; this way C stays the last axis.
        return self.norm(F.linear(patches, self.proj.weight.flatten(1), self.proj.bias))
