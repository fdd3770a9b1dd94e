"""The light decoder of BEVT."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...registry import MODELS

BRANCHES = ('image', 'video')


@MODELS.register_module()
class SwinDecoder(BaseModule):
    """Brings the last two maps of a hierarchical backbone to the token grid.

    The last map is up-sampled in space, put behind the last but one, and both are fused by a linear layer; for clips
    of several frames the result is up-sampled in time. Images and videos have weights of their own.

    Args:
        channels: C of the backbone's maps, fine to coarse; the last two are read.
        temporal_upsample: frames of tokens that one frame of a map stands for; the depth of the backbone's patches.
        branches: the branches to build. A model that never sees images (or videos) leaves theirs out, so that every
            parameter receives a gradient.

    Attributes:
        out_channels: C of the output.

    Raises:
        ValueError: if ``branches`` or ``channels`` cannot be used.

    Source: BEVT, arXiv:2112.01529, Sec. 3, Fig. 3. The norm that ends the figure's decoder belongs to the objective:
        images and videos share it, with the backbone.
    """

    def __init__(self, channels: Sequence[int], temporal_upsample: int = 2,
                 branches: Sequence[str] = BRANCHES) -> None:
        super().__init__()
        if len(channels) < 2:
            raise ValueError(f'SwinDecoder reads two maps, got channels={tuple(channels)}; '
                             'use a backbone of two stages or more')
        if temporal_upsample < 1:
            raise ValueError(f'SwinDecoder: temporal_upsample must be at least 1, got {temporal_upsample}')
        if isinstance(branches, str) or not branches or not set(branches) <= set(BRANCHES):
            raise ValueError(f'SwinDecoder: branches must be a list of some of {BRANCHES}, got {branches!r}')
        fine, coarse = channels[-2:]
        self.out_channels = coarse
        self.branches = nn.ModuleDict({
            name: DecoderBranch(fine, coarse, temporal_upsample if name == 'video' else 1) for name in branches})

    def forward(self, maps: Sequence[Tensor], grid: tuple[int, int, int]) -> Tensor:
        """Decode.

        Args:
            maps: a backbone's maps, each ``(N, t_i, h_i, w_i, C_i)``, un-normalised.
            grid: the token grid; one frame means images.

        Returns:
            ``(N, *grid, out_channels)``. What padding in the backbone added beyond the grid is cut off.

        Raises:
            ValueError: if the branch was not built, or the maps are too small for the grid.
        """
        name = 'image' if grid[0] == 1 else 'video'
        if name not in self.branches:
            raise ValueError(f'SwinDecoder was built with branches={tuple(self.branches)} but is given a token grid '
                             f'of {grid[0]} frames; add {name!r} to its branches')
        decoded = self.branches[name](maps[-2], maps[-1])
        if any(have < want for have, want in zip(decoded.shape[1:4], grid)):
            raise ValueError(f'SwinDecoder: the token grid is {tuple(grid)} but the decoded maps have '
                             f'{tuple(decoded.shape[1:4])}; temporal_upsample must be the depth of the patches, and '
                             "the tokens' size on the clip that of a patch of the last stage but one")
        return decoded[:, :grid[0], :grid[1], :grid[2]]


class DecoderBranch(nn.Module):
    """The decoder of one kind of clip.

    Args:
        fine: C of the last map but one.
        coarse: C of the last map.
        temporal_upsample: factor in time; 1 has no weights for it.
    """

    def __init__(self, fine: int, coarse: int, temporal_upsample: int) -> None:
        super().__init__()
        self.upsample = _transposed_convolution(coarse, (1, 2, 2))
        self.fuse = nn.Linear(fine + coarse, coarse)
        nn.init.trunc_normal_(self.fuse.weight, std=0.02)
        nn.init.zeros_(self.fuse.bias)
        self.temporal_upsample = None
        if temporal_upsample > 1:
            self.temporal_upsample = _transposed_convolution(coarse, (temporal_upsample, 1, 1))

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Fuse ``(N, t, h, w, C3)`` and ``(N, t, ceil(h / 2), ceil(w / 2), C4)`` to ``(N, t * factor, h, w, C4)``."""
        upsampled = _upsample(coarse, self.upsample)[:, :, :fine.shape[2], :fine.shape[3]]
        fused = self.fuse(torch.cat((fine, upsampled), dim=-1))
        return fused if self.temporal_upsample is None else _upsample(fused, self.temporal_upsample)


def _transposed_convolution(dims: int, factor: tuple[int, int, int]) -> nn.ConvTranspose3d:
    return nn.ConvTranspose3d(dims, dims, kernel_size=factor, stride=factor)


def _upsample(x: Tensor, convolution: nn.ConvTranspose3d) -> Tensor:
    """Apply a transposed convolution whose stride is its kernel to ``(N, t, h, w, C)``.

    Each cell becomes a block of cells by a linear map, so C stays the last axis.
    """
    kernel = convolution.weight.permute(0, 2, 3, 4, 1)  # (C, kt, kh, kw, C)
    cells = (x @ kernel.flatten(1)).unflatten(-1, kernel.shape[1:])  # (N, t, h, w, kt, kh, kw, C)
    blocks = cells.permute(0, 1, 4, 2, 5, 3, 6, 7).flatten(5, 6).flatten(3, 4).flatten(1, 2)
    return blocks + convolution.bias.to(blocks.dtype)
