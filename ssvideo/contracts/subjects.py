"""From the words of ``--component`` to what the kit checks."""
from __future__ import annotations

import copy
import inspect
import tempfile
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from torch import nn

from ..evaluation.random_batches import random_batch
from ..evaluation.stand_in_tokenizers import stand_in_tokenizers
from ..models.backbones import Backbone
from ..models.maskers import Masker
from ..models.objectives import Objective
from ..models.pretrainer import Pretrainer
from ..models.tokenizers import DalleVAE, Tokenizer
from ..registry import MODELS
from ..structures import Clips, Features, MaskedTokens
from ..utils.plugins import config_with_plugins, import_plugin
from .backbone import BACKBONE_KIT, BackboneCase
from .case import Case, Check
from .companions import BrightnessIds, MeanColours, companion_backbones, grid_of, inputs_of, masked_of
from .masker import MASKER_KIT, MaskerCase
from .model import MODEL_KIT, ModelCase
from .objective import OBJECTIVE_KIT, ObjectiveCase
from .tokenizer import TOKENIZER_KIT, TokenizerCase

KITS = {Masker: MASKER_KIT, Tokenizer: TOKENIZER_KIT, Backbone: BACKBONE_KIT, Objective: OBJECTIVE_KIT, BaseModel: MODEL_KIT}
"""The checks of each kind, by its base class."""
WITH_CONFIG = 'give the kit a config file that names it with its arguments: --component CONFIG.py'


@dataclass
class Subject:
    """What is checked.

    Args:
        name: to be shown.
        case: the component and what it is tried with.
    """
    name: str
    case: Case

    @property
    def checks(self) -> tuple[Check, ...]:
        """Those of its kind."""
        return next(checks for base, checks in KITS.items() if isinstance(self.case.part, base))


def subjects_of(word: str) -> list[Subject]:
    """What ``--component`` names.

    Args:
        word: ``ssvideo.X`` as registered, ``package.module.X``, or a config file, which stands for the model in it and all its
            parts. The first two are built with their default arguments.

    Raises:
        ValueError: if there is no such component, it is of none of the kinds, or it cannot be built.
        FileNotFoundError: if there is no such file.
    """
    torch.manual_seed(0)
    return _of_config(word) if word.endswith('.py') else [_of_class(_class_named(word))]


def _class_named(word: str) -> type:
    if word.startswith('ssvideo.') and word.count('.') == 1:
        try:
            return MODELS.get(word)
        except KeyError as error:
            raise ValueError(error.args[0]) from error
    module, _, name = word.rpartition('.')
    if not module:
        raise ValueError(f'--component {word}: expected ssvideo.NAME, package.module.NAME, or a config file that ends in .py')
    found = getattr(import_plugin(module), name, None)
    if not inspect.isclass(found):
        raise ValueError(f'--component {word}: the module {module} has no class {name}')
    return found


def _of_class(cls: type) -> Subject:
    if not issubclass(cls, tuple(KITS)):
        raise ValueError(f'{cls.__name__} is of no kind that the kit knows: it must be derived from '
                         f'{", ".join(base.__name__ for base in KITS)}')
    if issubclass(cls, BaseModel):
        raise ValueError(f'{cls.__name__} is a model of parts: {WITH_CONFIG}')
    try:
        case = _objective_case(cls) if issubclass(cls, Objective) else _case_of(cls())
    except (TypeError, ValueError) as error:
        raise ValueError(f'{cls.__name__} cannot be built with its default arguments ({error}): {WITH_CONFIG}') from error
    return Subject(cls.__name__, case)


def _case_of(part: Masker | Tokenizer | Backbone) -> Case:
    if isinstance(part, Masker):
        return MaskerCase(part, {}, grid=(8 * part.temporal_stride, 14, 14))
    if isinstance(part, Tokenizer):
        return TokenizerCase(part.eval(), {})
    return BackboneCase(part, {}, inputs=inputs_of(part), grid=grid_of(part))


def _objective_case(cls: type[Objective]) -> ObjectiveCase:
    """With the first backbone and tokenizer that it can be built with."""
    refused = None
    for backbone in companion_backbones():
        for tokenizer in (BrightnessIds(), MeanColours(), None):
            arguments = dict(backbone=backbone, tokenizer=tokenizer)
            try:
                part = cls(**arguments)
            except ValueError as error:
                refused = refused or error
                continue
            masked = masked_of(tokenizer, grid_of(backbone))
            return ObjectiveCase(part, arguments, features=backbone(inputs_of(backbone), masked.mask), masked=masked)
    raise refused


# ------------------------------------------------------------------------------------------------------------- configs

def _of_config(path: str) -> list[Subject]:
    cfg = config_with_plugins(path)
    if 'model' not in cfg:
        raise ValueError(f'--component {path}: the config has no model')
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    with tempfile.TemporaryDirectory() as folder:
        _small_tokenizers(cfg.model, folder)
        stand_in_tokenizers(cfg.model, folder)
        model = MODELS.build(_without_init(cfg.model.to_dict()))
    model.eval()
    if isinstance(model, (Masker, Tokenizer, Backbone)):
        return [Subject(type(model).__name__, _case_of(model))]
    if not isinstance(model, BaseModel):
        raise ValueError(f'--component {path}: {type(model).__name__} is of no kind that the kit knows')
    if not cfg.get('train_dataloader'):
        raise ValueError(f'--component {path}: the config has no train_dataloader, which tells the shape of the clips')
    batch = random_batch(model, cfg.train_dataloader, batch_size=2)
    parts = _parts_of_pretrainer(model, batch) if isinstance(model, Pretrainer) else _parts(model)
    return [*parts, Subject(type(model).__name__, ModelCase(model, batch=batch))]


def _small_tokenizers(model: MutableMapping, folder: str) -> None:
    """Put small ones with random weights in the place of DALL-E's whose file is missing; published ones take minutes here."""
    named = model.get('tokenizer') or {}
    for number, config in enumerate([named] if 'type' in named else named.values()):
        if config['type'] == 'ssvideo.DalleTokenizer' and not Path(config['checkpoint']).exists():
            config['checkpoint'] = f'{folder}/small_{number}.safetensors'
            DalleVAE(model.get('backbone', {}).get('vocab_size', 64), 8, num_blocks=1).save_tokenizer(config['checkpoint'])


def _without_init(config):
    """A config without ``init_cfg``: weights are random here."""
    if isinstance(config, dict):
        return {key: _without_init(value) for key, value in config.items() if key != 'init_cfg'}
    return [_without_init(value) for value in config] if isinstance(config, (list, tuple)) else config


def _parts_of_pretrainer(model: Pretrainer, batch: dict) -> Iterator[Subject]:
    """The parts, each tried with what the others of the config make of its batch."""
    clips = copy.deepcopy(model).data_preprocessor(batch, True)['inputs']
    for stream, masker in model.maskers.items():
        yield Subject(f'maskers.{stream}', MaskerCase(masker, grid=model.token_grid(clips[stream])))
    for name, tokenizer in model.tokenizers.items():
        yield Subject(f'tokenizers.{name}', TokenizerCase(tokenizer))
    stream = max(clips, key=lambda name: model.token_grid(clips[name])[0])
    mask = model.draw_mask(stream, clips[stream])
    targets = model.tokenize(stream, clips[stream], mask, everywhere=True)
    inputs = clips[stream].pixels if model.backbone.reads == 'pixels' else targets[model.default_target].tokens
    yield Subject('backbone', BackboneCase(model.backbone, inputs=inputs, grid=model.token_grid(clips[stream])))
    given = {stream: _given_to_objectives(model, stream, clips[stream]) for stream in clips}
    for name, objective in model.objectives.items():
        (features, masked), *others = [found[name] for found in given.values() if name in found]
        case = ObjectiveCase(objective, features=features, masked=masked, streams=tuple(others))
        yield Subject(f'objectives.{name}', case)


def _given_to_objectives(model: Pretrainer, stream: str, clips: Clips) -> dict[str, tuple[Features, MaskedTokens]]:
    mask = model.draw_mask(stream, clips)
    targets = model.tokenize(stream, clips, mask, everywhere=True)
    features = model.encode(stream, clips, targets, mask)
    return {name: (features[objective.inputs], targets[objective.target or model.default_target])
            for name, objective in model.objectives_of(stream)}


def _parts(model: nn.Module) -> Iterator[Subject]:
    """Maskers, tokenizers and trained backbones of another model; its objectives are tried with it alone."""
    held = [item for value in vars(model).values() for item in (value.values() if isinstance(value, dict) else [value])]
    yield from (Subject(type(part).__name__, _case_of(part)) for part in held if isinstance(part, Masker))
    for name, part in model.named_modules():
        trained = any(parameter.requires_grad for parameter in part.parameters())
        if isinstance(part, Tokenizer) or (isinstance(part, Backbone) and trained):
            yield Subject(name, _case_of(part))
