"""Take a fine-tuned Video Swin to mmaction2's own."""
from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from mmengine.hub import get_config
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from .model_file import ModelFile, build_model
from .swin_config import split_prefix

INDEX_BUFFER = 'relative_position_index'
OURS_ONLY = ('patch_embed_2d.', 'mask_embedding')
STOCK_CONFIGS = {arch: f'recognition/swin/swin-{arch}-p244-w877_{images}-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb.py'
                 for arch, images in dict(tiny='in1k', small='in1k', base='in1k', large='in22k').items()}


@dataclass
class MMActionModel:
    """A model of stock mmaction2.

    Args:
        config: its ``model``, a ``Recognizer3D``.
        weights: its whole state dict, index buffers included.
        stock_config: the shipped config, below mmaction2's ``configs/``, of the same architecture; ``None`` where none
            has it.
        options: what must follow ``--cfg-options`` with that config.
    """
    config: dict
    weights: dict[str, Tensor]
    stock_config: str | None
    options: list[str]


def mmaction_model(file: ModelFile) -> MMActionModel:
    """Translate a fine-tuned model.

    The weights are loaded strictly into mmaction2's own model, and what that model then holds is returned.

    Args:
        file: a ``ClipClassifier`` with a ``VideoSwin``.

    Raises:
        ValueError: if mmaction2 has no model that computes the same, or the weights do not fit.
    """
    _refuse_others(file.config)
    file.check()
    from mmaction.models import SwinTransformer3D  # here, since it takes seconds
    from mmaction.registry import MODELS
    ours = build_model(file.config)
    sizes = dict(embed_dims=ours.backbone.channels[0], depths=[len(stage.blocks) for stage in ours.backbone.layers],
                 num_heads=[stage.blocks[0].attn.num_heads for stage in ours.backbone.layers])
    arch = next((name for name in STOCK_CONFIGS if SwinTransformer3D.arch_zoo[name] == sizes), None)
    config = _recognizer(file.config, ours, arch or sizes)
    with DefaultScope.overwrite_default_scope('mmaction'):
        recognizer = MODELS.build(config)
    backbone, rest = split_prefix(file.weights, 'backbone.')
    weights = {f'backbone.{name}': value for name, value in backbone.items() if not name.startswith(OURS_ONLY)}
    weights |= {f'cls_head.fc_cls.{name}': value for name, value in split_prefix(rest, 'fc.')[0].items()}
    buffers = {name: value for name, value in recognizer.state_dict().items() if name.endswith(INDEX_BUFFER)}
    recognizer.load_state_dict(weights | buffers, strict=True)
    return MMActionModel(config, recognizer.state_dict(), STOCK_CONFIGS.get(arch), _options(config, arch))


def _refuse_others(config: Mapping) -> None:
    kind, backbone = _kind(config), _kind(config.get('backbone', {}))
    pixels = config.get('data_preprocessor') or {}
    for is_wrong, why in (
            (kind != 'ClipClassifier', f'this is a {kind}: fine-tune it first'),
            (backbone != 'VideoSwin', f'the backbone of this one is a {backbone}'),
            (config.get('pool', 'summary') != 'summary', 'this one classifies the raw last map, mmaction2 the normed'),
            (pixels.get('mean') is None, 'this one says no mean and std (data_preprocessor), which mmaction2 needs')):
        if is_wrong:
            raise ValueError(f'mmaction2 can test a ClipClassifier with a VideoSwin, but {why}')


def _recognizer(config: Mapping, ours: nn.Module, arch: str | dict) -> dict:
    """The ``model`` of mmaction2's config."""
    backbone, pixels = ours.backbone, config['data_preprocessor']
    mlp_dims = backbone.layers[0].blocks[0].mlp.fc1.out_features
    return dict(
        type='Recognizer3D',
        backbone=dict(
            type='SwinTransformer3D', arch=arch, pretrained=None, pretrained2d=False,
            patch_size=list(backbone.patch_size), window_size=list(backbone.window_size),
            mlp_ratio=mlp_dims / backbone.channels[0], patch_norm=True),
        data_preprocessor=dict(type='ActionDataPreprocessor', mean=list(pixels['mean']), std=list(pixels['std']),
                               format_shape='NCTHW'),
        cls_head=dict(
            type='I3DHead', in_channels=backbone.channels[-1], num_classes=ours.fc.out_features, spatial_type='avg',
            dropout_ratio=ours.dropout.p, average_clips=ours.average_clips))


def _options(config: dict, arch: str | None) -> list[str]:
    """What mmaction2's shipped config of an architecture says otherwise, of what a test depends on."""
    if arch is None:
        return []
    stock = get_config(f'mmaction::{STOCK_CONFIGS[arch]}').model.to_dict()
    words = dict(backbone=('patch_size', 'window_size', 'mlp_ratio'), cls_head=('num_classes', 'average_clips'),
                 data_preprocessor=('mean', 'std'))
    compact = json.JSONEncoder(separators=(',', ':'))  # tuples become lists, and no spaces, for a command line
    ours, theirs = ({f'model.{part}.{word}': compact.encode(model[part][word])
                     for part, names in words.items() for word in names} for model in (config, stock))
    return [f'{word}={value}' for word, value in ours.items() if value != theirs[word]]


def _kind(config: Mapping) -> str:
    return str(config.get('type', '')).removeprefix('ssvideo.')
