"""Translate image models: 2D Swin under Microsoft's and timm's names, MoBY, and BEVT's released image stage."""
from __future__ import annotations

import math
from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor

from .foreign_weights import ForeignWeights, read_weights
from .model_file import ModelFile, source_of
from .swin_config import PREPROCESSOR, TABLE, Window, add_mask_embedding, split_prefix, swin_config
from .swin_names import IMAGE_CLASSIFIER, INDEX_BUFFERS, PATCH_KERNEL, own_names

PREFIXES = ('', 'encoder.', 'backbone.')  # MoBY's trained encoder is encoder.*, its key encoder encoder_k.*
PARTS = ('patch_embed.', 'layers.', 'norm.')
NORM_OF_MEAN = 'fc_norm.'  # the final norm in BEiT's code, from which BEVT's image stage comes; it replaces norm
CONFIG_CLASS = 'yacs.config.CfgNode'


def read_swin_2d(path: str | Path) -> ForeignWeights:
    """Read a checkpoint; see :func:`~ssvideo.utils.foreign_weights.read_weights`.

    Microsoft's training code saves its config beside the weights, an object of the package yacs. It is a dict, and it
    is read as one; that package is not needed, and nothing of it is executed.
    """
    with torch.serialization.safe_globals([(OrderedDict, CONFIG_CLASS)]):
        return read_weights(path)


def swin_2d_model(source: ForeignWeights) -> ModelFile:
    """Infer the image model that weights belong to, and translate them.

    The model is a ``VideoSwin`` with patches and windows of one frame, and computes for clips of one frame what the
    source computes for images. Loaded into a model for videos, or into one with an image stem, it is inflated, see
    :func:`~ssvideo.models.backbones.swin_weights.adapt_swin`.

    Args:
        source: names of Microsoft's or timm's Swin, bare or under one of :data:`PREFIXES`.

    Returns:
        A ``ClipClassifier`` where the source has a classifier of images, else a ``Pretrainer`` with the backbone alone;
        either has ``backbone.*``. ``source['notes']`` says what was left out.

    Raises:
        ValueError: if these are not weights of a Swin of the first version, without absolute positions.

    Source: Swin Transformer, arXiv:2103.14030; MoBY, arXiv:2105.04553.
    """
    notes: list[str] = []
    weights, head = _take_parts(source.tensors, notes)
    kernel = weights[PATCH_KERNEL]
    if kernel.ndim != 4:
        raise ValueError(f'{PATCH_KERNEL} has {kernel.ndim} axes, that of an image model 4: convert a video model '
                         'with "bevt"')
    stages = {int(name.split('.')[1]) for name in weights if name.startswith('layers.')}
    renamed, lines = own_names(weights, f'norm{max(stages, default=0)}')
    backbone = swin_config(renamed, _square_window(renamed))
    ours = {f'backbone.{name}': value for name, value in renamed.items()}
    add_mask_embedding(ours, notes)
    notes += lines
    if head:
        config = dict(type='ssvideo.ClipClassifier', backbone=backbone, num_classes=len(head['fc.bias']),
                      pool='summary', dropout=0.0,  # Swin drops nothing before its classifier
                      data_preprocessor=PREPROCESSOR)
    else:
        config = dict(type='ssvideo.Pretrainer', backbone=backbone, maskers={}, objectives={},
                      data_preprocessor=PREPROCESSOR)
    return ModelFile(config, ours | head, source_of(source.path, notes))


def _take_parts(tensors: dict[str, Tensor], notes: list[str]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The backbone under its source's names, and the classifier under ours (none: ``{}``); of the rest, a note."""
    prefix = next((prefix for prefix in PREFIXES if prefix + PATCH_KERNEL in tensors), None)
    if prefix is None:
        raise ValueError(f'these are not weights of a 2D Swin: {PATCH_KERNEL} is missing, by itself and under '
                         f'{PREFIXES[1:]}; found {sorted(tensors)[:4]}')
    inside, outside = split_prefix(tensors, prefix)
    if 'absolute_pos_embed' in inside:
        raise ValueError('this Swin adds absolute positions (absolute_pos_embed), VideoSwin has none: take one without')
    norm, beside = split_prefix(inside, NORM_OF_MEAN)
    inside = beside | {f'norm.{name}': value for name, value in norm.items()}
    if norm:
        notes.append('fc_norm.*: taken as the final norm')
    weights = {name: value for name, value in inside.items() if name.startswith(PARTS)}
    if 'mask_token' in inside:
        weights['mask_embedding'] = inside['mask_token'].flatten()
    head = {f'fc.{name.rpartition(".")[2]}': inside[name] for name in IMAGE_CLASSIFIER if name in inside}
    if set(head) != {'fc.weight', 'fc.bias'}:
        head = {}
    used = {*weights, 'mask_token', *(IMAGE_CLASSIFIER if head else ())}
    others = [*outside, *(name for name in inside if name not in used and name.rpartition('.')[2] not in INDEX_BUFFERS)]
    if others:
        modules = sorted({name.split('.')[0] for name in others})
        notes.append(f'left out: {len(others)} weights that are not of the backbone, of {", ".join(modules)}')
    return weights, head


def _square_window(weights: dict[str, Tensor]) -> Window:
    """A 2D table has (2 side - 1) squared rows."""
    rows = {len(table) for name, table in weights.items() if name.endswith(TABLE)}
    sides = {math.isqrt(number) for number in rows}
    if len(rows) != 1 or {side**2 for side in sides} != rows or min(sides) % 2 == 0:
        raise ValueError(f'bias tables of {sorted(rows)} rows are not those of one square window: Swin V2, and Swin '
                         'with a window for each stage, are other architectures')
    side = (sides.pop() + 1) // 2
    return 1, side, side
