"""Layers near the pixels learn slower than those near the classifier."""
from __future__ import annotations

import re
from collections.abc import Sequence

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from ..registry import OPTIM_WRAPPER_CONSTRUCTORS

WORDS = ('layer_decay', 'full_rate', 'no_weight_decay')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayConstructor(DefaultOptimWrapperConstructor):
    """Builds an optimiser in which a layer's rate is that of the layer behind it times ``layer_decay``.

    The layers of a Video Swin backbone, counted over its stages: the patch embedding (0), each block, each patch
    merging. The final norm goes with the last block; all that is not in the backbone is one more layer, the last, and
    learns at the full rate.

    Args:
        optim_wrapper_cfg: mmengine's, with ``optimizer``.
        paramwise_cfg: ``layer_decay``, in (0, 1]; and two lists of parts of names, both empty where left out:
            ``full_rate``, of parameters that learn at the full rate wherever they are, and ``no_weight_decay``, of those
            without weight decay.

    Raises:
        ValueError: for another word, a decay out of range, an optimiser that does not state lr and weight_decay, or a
            model without a Video Swin backbone.

    Source: BEVT's fine-tuning on Kinetics-400, arXiv:2112.01529, published code.
    """

    def _validate_cfg(self) -> None:
        super()._validate_cfg()
        unknown, decay = set(self.paramwise_cfg) - set(WORDS), self.paramwise_cfg.get('layer_decay')
        if unknown or decay is None or not 0 < decay <= 1:
            raise ValueError(f'LayerDecayConstructor: paramwise_cfg takes {WORDS}, with layer_decay in (0, 1]; got '
                             f'{dict(self.paramwise_cfg)}')
        if self.base_lr is None or self.base_wd is None:
            raise ValueError('LayerDecayConstructor: the optimizer must state lr and weight_decay, got '
                             f'{dict(self.optimizer_cfg)}')

    def add_params(self, params: list[dict], module: nn.Module, **kwargs) -> None:
        """Append one group for each layer, and one for its parameters without weight decay.

        Args:
            params: the optimiser's groups, extended in place.
            module: the whole model.
        """
        layers = number_layers(module)
        last = max(layers.values()) + 1
        decay, full_rate, no_weight_decay = (self.paramwise_cfg.get(word, ()) for word in WORDS)
        groups = {}
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                layer = last if _contains(name, full_rate) else layers.get(name, last)
                groups.setdefault((layer, not _contains(name, no_weight_decay)), []).append(parameter)
        for (layer, decayed), parameters in sorted(groups.items(), key=lambda group: group[0]):
            rate, weight_decay = self.base_lr * decay**(last - layer), self.base_wd if decayed else 0.0
            params.append(dict(params=parameters, lr=rate, weight_decay=weight_decay))
            print_log(f'layer {layer} of {last}: lr {rate:.3g}, weight decay {weight_decay:g}, {len(parameters)} parameters',
                      logger='current')


def number_layers(model: nn.Module) -> dict[str, int]:
    """The layer of each parameter of the backbone, 0 at the pixels, by its name in the model.

    Raises:
        ValueError: if the backbone is none whose layers are known.
    """
    backbone = getattr(model, 'backbone', None)
    stages = getattr(backbone, 'layers', None)
    if stages is None or not all(hasattr(stage, 'blocks') for stage in stages):
        raise ValueError(f'LayerDecayConstructor counts the layers of VideoSwin, got {type(backbone).__name__}: leave '
                         'optim_wrapper.constructor out, and set rates with paramwise_cfg.custom_keys')
    prefixes = ['patch_embed']
    for number, stage in enumerate(stages):
        prefixes += [f'layers.{number}.blocks.{block}' for block in range(len(stage.blocks))]
        prefixes += [f'layers.{number}.downsample'] * (stage.downsample is not None)
    places = {prefix: layer for layer, prefix in enumerate(prefixes)}
    pattern = re.compile(r'patch_embed|layers\.\d+\.(blocks\.\d+|downsample)')

    def layer_of(name: str) -> int:
        found = pattern.match(name)
        return places[found.group()] if found else len(prefixes) - 1

    return {f'backbone.{name}': layer_of(name) for name, _ in backbone.named_parameters()}


def _contains(name: str, parts: Sequence[str]) -> bool:
    return any(part in name for part in parts)
