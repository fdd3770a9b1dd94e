"""A plain vision transformer over space and time that sees mask tokens."""
from __future__ import annotations

import torch
from mmengine.model import ModuleList
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from ssvideo.models.backbones import Backbone
from ssvideo.models.layers.positions import GridPositions, fit_positions
from ssvideo.registry import MODELS
from ssvideo.structures import Features


@MODELS.register_module()
class MaskTokenViT(Backbone):
    """Encodes clips with joint attention over all patches; hidden patches are replaced by a learned mask token.

    An image is a clip of one frame, with patches of depth 1.

    Args:
        grid: patches ``(t, h, w)`` of a clip, which are its tokens; weights of another grid are interpolated.
        patch_size: frames, pixels and pixels of a patch.
        embed_dims: C.
        num_layers: transformer blocks.
        num_heads: heads of each.
        mlp_ratio: hidden width of an MLP over C.
        drop_path_rate: drop-path rate of the last block; it grows linearly from 0.
        init_cfg: mmengine's; ``None`` keeps the initialisation made here.

    Raises:
        ValueError: if the width does not divide by the heads.

    Source: ViT, arXiv:2010.11929; masked as in MaskFeat, arXiv:2112.09133, Sec. 3.1. Positions are learned by axis;
        the summary is the mean of the patches, since no loss reads [CLS].
    """
    reads = 'pixels'
    pretraining_only = ('mask_token',)

    def __init__(self, grid: tuple[int, int, int], patch_size: tuple[int, int, int] = (2, 16, 16), embed_dims: int = 768,
                 num_layers: int = 12, num_heads: int = 12, mlp_ratio: float = 4.0, drop_path_rate: float = 0.0,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if embed_dims % num_heads:
            raise ValueError(f'MaskTokenViT: embed_dims={embed_dims} does not divide into {num_heads} heads')
        self.grid = tuple(grid)
        self.patch_size = self.token_stride = tuple(patch_size)
        self.channels = (embed_dims,)
        self.patch_embed = nn.Linear(3 * patch_size[0] * patch_size[1] * patch_size[2], embed_dims)
        self.mask_token = nn.Parameter(torch.empty(embed_dims))
        self.positions = GridPositions(self.grid, embed_dims)
        self.blocks = ModuleList(
            Block(embed_dims, num_heads, mlp_ratio, qkv_bias=True, drop_path=drop_path_rate * i / max(num_layers - 1, 1))
            for i in range(num_layers))
        self.norm = nn.LayerNorm(embed_dims)
        self.apply(_initialise)
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> Features:
        """Encode.

        Args:
            inputs: ``(N, 3, T, H, W)`` normalised pixels of ``grid`` patches.
            mask: ``(N, t, h, w)`` bool or int8, hidden where True or above 0. ``None`` hides nothing.

        Returns:
            One map, before the final norm, and the mean of the normalised map.

        Raises:
            ValueError: if ``inputs`` or ``mask`` have another shape.
        """
        patches = self._cut(inputs)
        x = self.patch_embed(patches)  # (N, t, h, w, C)
        if mask is not None:
            if mask.shape != x.shape[:4]:
                raise ValueError(f'MaskTokenViT: a mask must be {tuple(x.shape[:4])} (N, t, h, w), got {tuple(mask.shape)}')
            x = torch.where((mask > 0).unsqueeze(-1), self.mask_token.to(x.dtype), x)
        x = torch.cat((self.positions.cls.expand(len(x), 1, -1), (x + self.positions()).flatten(1, 3)), dim=1)
        for block in self.blocks:
            x = block(x)
        x = x[:, 1:]
        return Features((x.unflatten(1, self.grid),), self.norm(x).mean(1))

    def _cut(self, pixels: Tensor) -> Tensor:
        """Patches ``(N, t, h, w, values)``."""
        size = tuple(cells * step for cells, step in zip(self.grid, self.patch_size))
        if pixels.ndim != 5 or tuple(pixels.shape[1:]) != (3, *size):
            raise ValueError(f'MaskTokenViT: a grid {self.grid} of patches {self.patch_size} needs pixels (N, 3, *{size}), got '
                             f'{tuple(pixels.shape)}: change the clip, or the grid')
        frames, height, width = self.patch_size
        cut = pixels.unflatten(4, (-1, width)).unflatten(3, (-1, height)).unflatten(2, (-1, frames))
        return cut.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4)

    def adapt(self, state_dict: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
        """Interpolate positions learned on another grid, linearly along each axis; see :meth:`Backbone.adapt`."""
        return fit_positions(state_dict, self.grid)


def _initialise(module: nn.Module) -> None:
    """As BEiT and MaskFeat: everything N(0, 0.02) truncated, biases 0."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, GridPositions):
        for table in module.parameters():
            nn.init.trunc_normal_(table, std=0.02)
