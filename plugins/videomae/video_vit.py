"""A vision transformer over patches of space and time."""
from __future__ import annotations

import math

from torch import Tensor, nn

from plugins.pixel_targets import cut_patches
from ssvideo.models.backbones import Backbone
from ssvideo.registry import MODELS
from ssvideo.structures import Features

from .sine_positions import KINDS, Kind, sine_positions
from .visible_tokens import visible_tokens
from .vit_blocks import NORM_EPS, ViTStage, initialise


@MODELS.register_module()
class VideoViT(Backbone):
    """Encodes clips with attention between all patches; hidden patches are not encoded at all.

    With a mask only visible patches are embedded and pass through the blocks, so a step at 90 % hidden costs about a
    tenth. The map has zeros where patches are hidden; decoders put their mask tokens there. There is no [CLS]: the summary
    is the mean of the normalised visible tokens. An image is shown as a clip that stands still for the depth of a patch.

    Args:
        patch_size: frames, pixels and pixels of a patch.
        embed_dims: C.
        num_layers: blocks.
        num_heads: heads of each block.
        mlp_ratio: hidden width of an MLP over C.
        positions: ``'flat'`` or ``'axes'``, see :func:`sine_positions`; made for the grid of the clips at hand.
        drop_path_rate: drop-path rate of the last block; it grows linearly from 0.
        checkpoint_activations: recompute blocks in the backward pass instead of keeping their activations.
        init_cfg: mmengine's; ``None`` keeps the initialisation made here.

    Raises:
        ValueError: if the sizes do not fit each other.

    Source: VideoMAE, arXiv:2203.12602, Sec. 3; V-JEPA, arXiv:2404.08471, Sec. 3.
    """
    reads = 'pixels'
    mask_on_host = True

    def __init__(self, patch_size: tuple[int, int, int] = (2, 16, 16), embed_dims: int = 768, num_layers: int = 12,
                 num_heads: int = 12, mlp_ratio: float = 4.0, positions: Kind = 'flat', drop_path_rate: float = 0.0,
                 checkpoint_activations: bool = False, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        patch_size = tuple(patch_size)
        if len(patch_size) != 3 or any(not isinstance(size, int) or size < 1 for size in patch_size):
            raise ValueError(f'VideoViT: patch_size must be three positive integers (time, height, width), got {patch_size}')
        if positions not in KINDS or embed_dims % 2:
            raise ValueError(f'VideoViT: positions must be one of {KINDS} and embed_dims even, got {positions!r}, {embed_dims}')
        self.patch_size = self.token_stride = patch_size
        self.channels = (embed_dims,)
        self.positions = positions
        self.patch_embed = nn.Linear(3 * math.prod(patch_size), embed_dims)
        self.layers = nn.ModuleList([
            ViTStage(embed_dims, num_layers, num_heads, mlp_ratio, drop_path_rate, checkpoint_activations)])
        self.norm = nn.LayerNorm(embed_dims, eps=NORM_EPS)
        self.apply(initialise)

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> Features:
        """Encode.

        Args:
            inputs: ``(N, 3, T, H, W)`` normalised pixels; T = 1 is an image.
            mask: ``(N, t, h, w)`` bool or int8 on the host, hidden where not 0. ``None`` hides nothing.

        Returns:
            One map, not normalised, zero where hidden; and the mean of its normalised visible tokens.

        Raises:
            ValueError: if ``inputs`` or ``mask`` have another shape, or a clip has nothing visible.
        """
        self._check(inputs, mask)
        if inputs.shape[2] == 1:
            inputs = inputs.expand(-1, -1, self.patch_size[0], -1, -1)
        patches = cut_patches(inputs, self.patch_size)  # (N, t, h, w, values of a patch)
        grid = tuple(patches.shape[1:4])
        positions = sine_positions(self.positions, grid, self.channels[0], inputs.device)  # (L, C)
        if mask is None:
            x = self.layers[0](self.patch_embed(patches.flatten(1, 3)) + positions)
            return Features((x.unflatten(1, grid),), self.norm(x).mean(1))
        visible = visible_tokens(mask, grid, inputs.device)
        x = self.patch_embed(visible.take(patches.flatten(1, 3))) + visible.take_shared(positions)  # (N, K, C)
        x = self.layers[0](x, visible.attention_mask)
        return Features((visible.put_back(x).unflatten(1, grid),), visible.mean(self.norm(x)))

    def _check(self, inputs: Tensor, mask: Tensor | None) -> None:
        if inputs.ndim != 5 or inputs.shape[1] != 3:
            raise ValueError(f'VideoViT reads pixels (N, 3, T, H, W), got {tuple(inputs.shape)}; '
                             'give an image as a clip with T = 1')
        if any(side % patch for side, patch in zip(inputs.shape[2:], self.patch_size) if side > 1):
            raise ValueError(f'VideoViT: clips of {tuple(inputs.shape[2:])} (T, H, W) do not divide by patches of '
                             f'{self.patch_size}: change the clip length or the crop')
        if mask is not None and (mask.ndim != 4 or len(mask) != len(inputs)):
            raise ValueError(f'VideoViT: a mask must be (N, t, h, w) with N = {len(inputs)} clips, got {tuple(mask.shape)}')
