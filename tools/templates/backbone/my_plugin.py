"""Depthwise convolutions over patches."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ssvideo.models.backbones import Backbone
from ssvideo.models.layers.resize_mask import resize_mask
from ssvideo.registry import MODELS
from ssvideo.structures import Features

PATCH = (2, 8, 8)


@MODELS.register_module()
class MyPlugin(Backbone):
    """Patches of 2 frames and 8 x 8 pixels, and two stages of blocks, the second on half the height and width.

    An image is shown twice, as a clip of two frames.

    Args:
        embed_dims: C of the first stage; the second has twice as many.
        depths: blocks of each stage.
        init_cfg: see :class:`~ssvideo.models.backbones.Backbone`.

    Source: ConvNeXt, arXiv:2201.03545, Fig. 4 (the block), with time as a third axis.
    """
    reads = 'pixels'
    token_stride = (1, 8, 8)

    def __init__(self, embed_dims: int = 48, depths: Sequence[int] = (2, 2), init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.channels = (embed_dims, 2 * embed_dims)
        self.patches = nn.Conv3d(3, embed_dims, PATCH, PATCH)
        self.mask_embedding = nn.Parameter(torch.zeros(embed_dims))
        nn.init.trunc_normal_(self.mask_embedding, std=0.02)
        self.first = nn.Sequential(*(Block(embed_dims) for _ in range(depths[0])))
        self.shrink = nn.Conv3d(embed_dims, 2 * embed_dims, (1, 2, 2), (1, 2, 2))
        self.second = nn.Sequential(*(Block(2 * embed_dims) for _ in range(depths[1])))
        self.norm = nn.LayerNorm(2 * embed_dims)

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> Features:
        """``(N, 3, T, H, W)`` normalised pixels, and a mask ``(N, t, h, w)`` of the token grid; see :class:`Backbone`."""
        if inputs.shape[2] == 1:
            inputs = inputs.repeat_interleave(2, dim=2)
        x = self.patches(inputs).movedim(1, -1)  # (N, t, h, w, C)
        if mask is not None:
            hidden = resize_mask(mask, tuple(x.shape[1:4])) != 0
            x = torch.where(hidden.unsqueeze(-1), self.mask_embedding.to(x.dtype), x)
        fine = self.first(x)
        coarse = self.second(self.shrink(fine.movedim(-1, 1)).movedim(1, -1))  # (N, t, h / 2, w / 2, 2 C)
        return Features(maps=(fine, coarse), summary=self.norm(coarse).mean((1, 2, 3)))


class Block(nn.Module):
    """Mixes neighbours, then channels, and adds the result: ``(N, t, h, w, C)`` to the same.

    Args:
        dims: C.
    """

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.mix = nn.Conv3d(dims, dims, 3, padding=1, groups=dims)
        self.norm = nn.LayerNorm(dims)
        self.mlp = nn.Sequential(nn.Linear(dims, 4 * dims), nn.GELU(), nn.Linear(4 * dims, dims))

    def forward(self, x: Tensor) -> Tensor:
        """One step."""
        return x + self.mlp(self.norm(self.mix(x.movedim(-1, 1)).movedim(1, -1)))
