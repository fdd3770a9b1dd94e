"""Features of a frozen network of timm as continuous targets."""
from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ssvideo.models.layers.timm_network import build_timm_network
from ssvideo.models.tokenizers import Tokenizer
from ssvideo.registry import MODELS


@MODELS.register_module()
class FeatureTargets(Tokenizer):
    """What a frozen image network makes of each patch of a frame is the patch's target.

    The ``Pretrainer`` shows it a view in which a token has the size of a patch, made on the device; the network reads it
    normalised with the mean and deviation that timm lists for its name. The tag matters: ``vit_base_patch16_clip_224`` is
    shown other colours than ``vit_base_patch16_224``. Checkpoints name the network by its checksum, and do not hold it.

    Args:
        name: of the network in timm, a ViT, a ResNet or any other that has ``forward_intermediates``.
        weights: file of its weights with timm's names, ``.safetensors`` or a state dict saved by torch. All must be there,
            and nothing else, except for a classification head.
        layer: depth to read at: a block of a ViT, from 0; of a ResNet the stem (0) or a stage (1 to 4). ``None``: the last.
        frames: frames of one token; the first is shown to the network.
        normalise: give the features of each patch mean 0 and deviation 1, without learned factors.
        prefix: of the network's weights in a file that holds more.
        random_weights: allows ``weights=None``: the network then has weights drawn from a fixed seed. Good for trying
            things out.
        arguments: further arguments of ``timm.create_model``, such as ``dict(dynamic_img_size=True)`` for a ViT that is to
            read views of other sizes than its own.
        frames_per_chunk: frames encoded at once, so that long clips do not need more memory.
        precision: ``'float32'``, or ``'bfloat16'`` (faster). Holds inside autocast, too.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a name, a layer or a number that does not exist, or a file that does not hold these weights.

    Source: MVP, arXiv:2203.05175; EVA, arXiv:2211.07636; normalised features: MaskDistill, arXiv:2210.10615.
    """
    independent_frames = True

    def __init__(self, name: str, weights: str | Path | None = None, layer: int | None = None, frames: int = 1,
                 normalise: bool = True, prefix: str = '', random_weights: bool = False, arguments: dict | None = None,
                 frames_per_chunk: int = 64, precision: Literal['float32', 'bfloat16'] = 'float32') -> None:
        super().__init__()
        if min(frames, frames_per_chunk) < 1 or precision not in ('float32', 'bfloat16'):
            raise ValueError("FeatureTargets: frames and frames_per_chunk must be at least 1, precision 'float32' or 'bfloat16'; "
                             f'got {frames}, {frames_per_chunk} and {precision!r}')
        self.network = build_timm_network('FeatureTargets', name, weights, prefix, random_weights, arguments)
        depths = self.network.feature_info
        if layer is not None and not 0 <= layer < len(depths):
            raise ValueError(f'FeatureTargets: {name} has the layers 0 to {len(depths) - 1}, got layer={layer}')
        self.layers = self.network.prune_intermediate_layers(1 if layer is None else [layer], prune_norm=True, prune_head=True)
        found = depths[-1 if layer is None else layer]
        for statistic in ('mean', 'std'):  # persistent: they are part of what the checksum names
            self.register_buffer(statistic, torch.tensor(self.network.pretrained_cfg[statistic]).view(1, 3, 1, 1))
        self.stride = (frames, found['reduction'], found['reduction'])
        self.target_dims = found['num_chs']
        self.normalise = normalise
        self.frames_per_chunk = frames_per_chunk
        self.precision = precision
        self.to(memory_format=torch.channels_last).requires_grad_(False).eval()

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode.

        Args:
            pixels: ``(N, 3, T, H, W)`` float in [0, 1], sides multiples of ``stride``.

        Returns:
            ``(N, t, h, w, C)`` float32.

        Raises:
            ValueError: for a size that the network does not read.
        """
        self._check(pixels.shape)
        shown = pixels[:, :, ::self.stride[0]].transpose(1, 2)  # (N, t, 3, H, W)
        features = torch.cat([self._encode(chunk) for chunk in shown.flatten(0, 1).split(self.frames_per_chunk)])
        return features.unflatten(0, shown.shape[:2])

    def _encode(self, pictures: Tensor) -> Tensor:
        """``(M, 3, H, W)`` in [0, 1] -> ``(M, h, w, C)`` float32."""
        inputs = ((pictures - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        with torch.autocast(pictures.device.type, torch.bfloat16, enabled=self.precision == 'bfloat16'):
            maps = self.network.forward_intermediates(inputs, indices=self.layers, intermediates_only=True)
        features = maps[0].permute(0, 2, 3, 1).float()
        return F.layer_norm(features, features.shape[-1:]) if self.normalise else features

    def _check(self, shape: torch.Size) -> None:
        size, step = tuple(shape[-2:]), self.stride[1]
        embedding = getattr(self.network, 'patch_embed', None)
        own = tuple(embedding.img_size) if getattr(embedding, 'strict_img_size', False) else size
        if size[0] % step or size[1] % step or size != own:
            wanted = f'multiples of {step}' if own == size else f'{own[0]} x {own[1]}'
            raise ValueError(f'FeatureTargets: {type(self.network).__name__} reads pictures of {wanted} pixels, got {size[0]} x '
                             f'{size[1]}: change the crop, or let a ViT read any size with arguments=dict(dynamic_img_size=True)')
