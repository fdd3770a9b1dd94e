"""Video Swin Transformer, with what masked pre-training adds to it."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import ModuleList
from torch import Tensor, nn

from ...registry import MODELS
from ...structures import Features
from ..layers.patch_embed import PatchEmbed
from ..layers.recomputed import recomputed_parts
from ..layers.resize_mask import resize_mask
from ..layers.swin_stage import SwinStage
from ..layers.window_attention import WindowAttention
from .base import Backbone
from .swin_weights import adapt_swin


@MODELS.register_module()
class VideoSwin(Backbone):
    """Encodes clips, and images as clips of one frame, with attention in shifted windows.

    Parameters are named as in mmaction2's ``SwinTransformer3D``, so that weights move both ways; ``patch_embed_2d``
    and ``mask_embedding`` are ours in addition.

    Args:
        patch_size: frames, pixels and pixels of a patch; depth 1 makes an image model.
        embed_dims: C of the first stage; each stage doubles it.
        depths: blocks of each stage, of two stages at least.
        num_heads: heads of each stage.
        window_size: patches of a window in time, height and width.
        mlp_ratio: hidden width of an MLP over C.
        drop_path_rate: drop-path rate of the last block; it grows linearly from 0.
        image_stem: whether one-frame clips have a patch embedding of their own, of depth 1. ``None``: where patches
            are deeper than one frame.
        token_stride: frames, pixels and pixels of a predicted token. ``None``: one frame, and the patch of the last
            stage but one ((1, 16, 16) for the published sizes).
        checkpoint_activations: recompute blocks in the backward pass instead of keeping their activations: True, or the
            numbers of the stages in which to do so, from 0; the first ones hold most.
        keep_products: of these stages, those that keep the results of matrix products: half of the activations, at little
            time. True, or numbers. Results of attention are always kept.
        init_cfg: mmengine's; ``None`` keeps the initialisation made here.

    Raises:
        ValueError: if the sizes do not fit each other.

    Source: Video Swin Transformer, arXiv:2106.13230; masking and image stem: BEVT, arXiv:2112.01529, Sec. 3.
    """
    reads = 'pixels'
    pretraining_only = ('patch_embed_2d', 'mask_embedding')

    def __init__(self, patch_size: tuple[int, int, int] = (2, 4, 4), embed_dims: int = 128,
                 depths: tuple[int, ...] = (2, 2, 18, 2), num_heads: tuple[int, ...] = (4, 8, 16, 32),
                 window_size: tuple[int, int, int] = (8, 7, 7), mlp_ratio: float = 4.0, drop_path_rate: float = 0.3,
                 image_stem: bool | None = None, token_stride: tuple[int, int, int] | None = None,
                 checkpoint_activations: bool | Sequence[int] = False, keep_products: bool | Sequence[int] = False,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        # A config gives lists.
        self.patch_size, self.window_size = _three('patch_size', patch_size), _three('window_size', window_size)
        self.channels = tuple(embed_dims * 2**i for i in range(len(depths)))
        _check_stages(self.channels, depths, num_heads)
        token_patches = 2**(len(depths) - 2)
        self.token_stride = _three('token_stride', token_stride or (
            1, token_patches * self.patch_size[1], token_patches * self.patch_size[2]))

        self.patch_embed = PatchEmbed(self.patch_size, embed_dims)
        if self.patch_size[0] > 1 if image_stem is None else image_stem:
            self.patch_embed_2d = PatchEmbed((1, *self.patch_size[1:]), embed_dims)
        else:
            self.patch_embed_2d = None
        self.mask_embedding = nn.Parameter(torch.zeros(embed_dims))
        drop_paths = iter([i * drop_path_rate / max(sum(depths) - 1, 1) for i in range(sum(depths))])
        recomputed, keeping = recomputed_parts('VideoSwin: stages', len(depths), checkpoint_activations, keep_products)
        self.layers = ModuleList(
            SwinStage(dims, heads, self.window_size, mlp_ratio, [next(drop_paths) for _ in range(depth)],
                      merge=dims != self.channels[-1], checkpoint_activations=number in recomputed,
                      keep_products=number in keeping)
            for number, (dims, depth, heads) in enumerate(zip(self.channels, depths, num_heads)))
        self.add_module(f'norm{len(depths) - 1}', nn.LayerNorm(self.channels[-1]))
        self.apply(_initialise)
        nn.init.trunc_normal_(self.mask_embedding, std=0.02)

    @property
    def norm(self) -> nn.LayerNorm:
        """The final norm, ``norm3`` in the state dict as in mmaction2; BEVT's decoder shares it."""
        return getattr(self, f'norm{len(self.layers) - 1}')

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> Features:
        """Encode.

        Args:
            inputs: ``(N, 3, T, H, W)`` normalised pixels; T = 1 is an image.
            mask: ``(N, t, h, w)`` bool or int8 on the token grid, hidden where True or above 0. ``None`` hides nothing.

        Returns:
            One map per stage, before its patch merging, and the mean of the normalised last map.

        Raises:
            ValueError: if ``inputs`` or ``mask`` have another shape.
        """
        if inputs.ndim != 5 or inputs.shape[1] != 3:
            raise ValueError(f'VideoSwin reads pixels (N, 3, T, H, W), got {tuple(inputs.shape)}; '
                             'give an image as a clip with T = 1')
        is_image = inputs.shape[2] == 1 and self.patch_embed_2d is not None
        x = self.patch_embed_2d(inputs) if is_image else self.patch_embed(inputs)  # (N, t, h, w, C)
        if mask is not None:
            x = self._hide(x, mask)
        maps = []
        for stage in self.layers:
            x = stage(x)
            maps.append(x)
            if stage.downsample is not None:
                x = stage.downsample(x)
        return Features(tuple(maps), self.norm(x).mean((1, 2, 3)))

    def _hide(self, patches: Tensor, mask: Tensor) -> Tensor:
        if mask.ndim != 4 or len(mask) != len(patches):
            raise ValueError(f'VideoSwin: a mask must be (N, t, h, w) with N = {len(patches)} clips, '
                             f'got {tuple(mask.shape)}')
        hidden = resize_mask(mask, tuple(patches.shape[1:4])) > 0
        return torch.where(hidden.unsqueeze(-1), self.mask_embedding.to(patches.dtype), patches)

    def adapt(self, state_dict: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
        """Fit weights of an image model, or of another window, to this model; see :func:`adapt_swin`."""
        return adapt_swin(state_dict, self.state_dict(), self.window_size)


def _initialise(module: nn.Module) -> None:
    """mmaction2's laws: linear layers and bias tables N(0, 0.02) truncated, biases 0; the patch convolution torch's."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, WindowAttention):
        nn.init.trunc_normal_(module.relative_position_bias_table, std=0.02)


def _three(name: str, sizes: tuple[int, int, int]) -> tuple[int, int, int]:
    sizes = tuple(sizes)
    if len(sizes) != 3 or any(not isinstance(s, int) or s < 1 for s in sizes):
        raise ValueError(f'VideoSwin: {name} must be three positive integers (time, height, width), got {sizes}')
    return sizes


def _check_stages(channels: tuple[int, ...], depths: tuple[int, ...], num_heads: tuple[int, ...]) -> None:
    if len(depths) < 2 or len(depths) != len(num_heads):
        raise ValueError('VideoSwin: depths and num_heads must name the same stages, two at least; '
                         f'got depths={depths}, num_heads={num_heads}')
    for dims, heads in zip(channels, num_heads):
        if dims % heads:
            raise ValueError(f'VideoSwin: a stage of {dims} channels does not divide into {heads} heads; '
                             'change embed_dims or num_heads')
