"""Weights under the names of BEVT's released code: the golden ones, and what its trainings save beside them."""
from __future__ import annotations

import torch
from vimpac_weights import golden

DECODER = ('backbone.fpn', 'backbone.lm_down')


def pretraining_weights() -> dict[str, torch.Tensor]:
    """Backbone, decoder and classifier: embed 16, depths 1-1-2-1, heads 1-2-4-8, window (4, 7, 7), 96 ids."""
    return golden('bevt_a_weights')[0]


def encoder_weights() -> dict[str, torch.Tensor]:
    """The backbone without decoder and classifier."""
    return {name: value for name, value in pretraining_weights().items() if not name.startswith((*DECODER, 'cls_head.'))}


def finetuned_weights(num_classes: int = 5) -> dict[str, torch.Tensor]:
    """As ``SwinTransformer3D`` with an ``I3DHead`` of the authors' mmaction saves them: no image stem, no mask token."""
    weights = {name: value for name, value in encoder_weights().items() if '_2d' not in name and 'mask_token' not in name}
    generator = torch.Generator().manual_seed(0)
    index = {'backbone.layers.0.blocks.0.attn.relative_position_index': torch.zeros(4 * 7 * 7, 4 * 7 * 7, dtype=torch.long)}
    return weights | index | {
        'cls_head.fc_cls.weight': torch.randn(num_classes, 128, generator=generator),
        'cls_head.fc_cls.bias': torch.randn(num_classes, generator=generator)}
