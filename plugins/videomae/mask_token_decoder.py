"""A narrow transformer that sees visible tokens, and mask tokens where there are none."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from ssvideo.registry import MODELS

from .sine_positions import Kind, sine_positions
from .vit_blocks import NORM_EPS, ViTStage, initialise


@MODELS.register_module()
class MaskTokenDecoder(BaseModule):
    """Fills hidden positions with a learned token, adds positions and lets all tokens of a clip attend to each other.

    Unlike the core's decoders it must know what is hidden; it stands with the objectives (and models) that say so.

    Args:
        channels: C of the backbone's maps; the last map is read.
        embed_dims: width.
        num_layers: blocks.
        num_heads: heads of each.
        mlp_ratio: hidden width of an MLP over the width.
        positions: see :func:`sine_positions`.
        num_mask_tokens: mask tokens to choose from, one for each way of masking.
        embed_bias: whether the layer that narrows the tokens has a bias (V-JEPA: yes, VideoMAE: no).
        checkpoint_activations: recompute blocks in the backward pass instead of keeping their activations.

    Attributes:
        out_channels: C of the output.
        fills_hidden: True: it is told what is hidden, and puts something there.

    Source: VideoMAE, arXiv:2203.12602, Sec. 3; the same network is V-JEPA's predictor, arXiv:2404.08471, Sec. 3.
    """

    fills_hidden = True

    def __init__(self, channels: Sequence[int], embed_dims: int = 384, num_layers: int = 4, num_heads: int = 6,
                 mlp_ratio: float = 4.0, positions: Kind = 'flat', num_mask_tokens: int = 1, embed_bias: bool = False,
                 checkpoint_activations: bool = False) -> None:
        super().__init__()
        self.out_channels = embed_dims
        self.positions = positions
        self.embed = nn.Linear(channels[-1], embed_dims, bias=embed_bias)
        self.mask_tokens = nn.Parameter(torch.empty(num_mask_tokens, embed_dims))
        self.stage = ViTStage(embed_dims, num_layers, num_heads, mlp_ratio, checkpoint_activations=checkpoint_activations)
        self.norm = nn.LayerNorm(embed_dims, eps=NORM_EPS)
        self.apply(initialise)
        nn.init.trunc_normal_(self.mask_tokens, std=0.02)  # VideoMAE

    def forward(self, x: Tensor, hidden: Tensor, mask_token: int = 0) -> Tensor:
        """Decode.

        Args:
            x: ``(N, t, h, w, C)``, normalised; what it has at hidden positions is not looked at.
            hidden: ``(N, t, h, w)`` bool, on the device.
            mask_token: which of them stands at hidden positions.

        Returns:
            ``(N, t, h, w, out_channels)``, normalised.

        Raises:
            ValueError: if ``x`` is not on the grid of ``hidden``, or the objective calls it as a decoder that is not told.
        """
        if not isinstance(x, Tensor):
            raise ValueError('MaskTokenDecoder must be told what is hidden; use an objective that tells it, such as '
                             'ssvideo.PatchRegression')
        if x.shape[:4] != hidden.shape:
            raise ValueError(f'MaskTokenDecoder: the map is {tuple(x.shape[:4])} (N, t, h, w), the mask {tuple(hidden.shape)}: '
                             'use a backbone whose last map is on the token grid, such as ssvideo.VideoViT')
        grid = tuple(hidden.shape[1:])
        tokens = self.embed(x)
        tokens = torch.where(hidden.unsqueeze(-1), self.mask_tokens[mask_token].to(tokens.dtype), tokens).flatten(1, 3)
        tokens = tokens + sine_positions(self.positions, grid, self.out_channels, x.device)
        return self.norm(self.stage(tokens)).unflatten(1, grid)
