"""A model file from a training of this package."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config
from torch import Tensor

from .foreign_weights import ForeignWeights, read_weights
from .model_file import ModelFile, source_of

BUILT_WITHOUT_TOKENIZER = ('MVM', 'MLM', 'InfoNCE')
"""Objectives that need of a tokenizer no more than the size of its vocabulary, which weights or the backbone tell."""

TOLD_BY_CHECKPOINTS = ('epoch', 'iter', 'seed', 'tokenizers')
"""What the ``meta`` of a checkpoint says of the training; tokenizers are named by the checksum of their weights."""


def trained_model(config: str | Path | Config, checkpoint: str | Path) -> ModelFile:
    """Join a training's config and its checkpoint.

    The tokenizer of a pre-training, which the config names by its file, is left out where every objective is one of
    :data:`BUILT_WITHOUT_TOKENIZER`: the model file then needs no other file.

    Args:
        config: what was trained, or its file.
        checkpoint: its weights, ``.pth``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the config has no model, or the checkpoint cannot be read as plain tensors.
    """
    cfg = config if isinstance(config, Config) else Config.fromfile(config)
    if 'model' not in cfg:
        raise ValueError(f'{cfg.filename} has no model')
    weights, notes = read_weights(checkpoint), [f'config: {Path(cfg.filename).name}']
    described = _without_tokenizer(_without_init(cfg.model.to_dict()), weights, notes)
    source = source_of(weights.path, notes)
    if training := {key: value for key, value in (weights.fact('meta') or {}).items() if key in TOLD_BY_CHECKPOINTS}:
        source['training'] = training
    return ModelFile(described, weights.tensors, source)


def _without_init(config):
    """A config without ``init_cfg``: the file to be written holds the weights itself."""
    if isinstance(config, dict):
        return {key: _without_init(value) for key, value in config.items() if key != 'init_cfg'}
    return [_without_init(value) for value in config] if isinstance(config, (list, tuple)) else config


def _without_tokenizer(config: dict, weights: ForeignWeights, notes: list[str]) -> dict:
    """Put the size of the vocabulary in the place of a pre-training's tokenizer."""
    objectives, tokenizer = config.get('objectives'), config.get('tokenizer')
    if not objectives or not tokenizer:
        return config
    if any(_kind(part) not in BUILT_WITHOUT_TOKENIZER or part.get('target') for part in objectives.values()):
        notes.append('tokenizer: kept, an objective is built from it; its file must be there when this one is loaded')
        return config
    names = [_kind(part) for part in ([tokenizer] if 'type' in tokenizer else tokenizer.values())]
    notes.append(f'tokenizer: left out ({", ".join(names)}); the classifiers tell the size of the vocabulary')
    objectives = {name: _with_vocabulary(name, objective, weights.tensors) for name, objective in objectives.items()}
    return {key: value for key, value in config.items() if key != 'tokenizer'} | dict(objectives=objectives)


def _with_vocabulary(name: str, objective: dict, weights: Mapping[str, Tensor]) -> dict:
    if _kind(objective) != 'MVM':
        return objective
    classifier = f'objectives.{name}.classifier.bias'
    if classifier not in weights:
        raise ValueError(f'the checkpoint lacks {classifier}, a weight of the MVM that the config describes: give the '
                         'config that it was trained with')
    return objective | dict(vocab_size=len(weights[classifier]))


def _kind(config: Mapping) -> str:
    return config['type'].removeprefix('ssvideo.')
