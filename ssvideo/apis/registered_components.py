"""Every registered component, with what a user has to know of it."""
from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass

from mmengine.model import BaseDataPreprocessor, BaseModel

from .. import registry as ours
from ..models.backbones import Backbone
from ..models.maskers import Masker
from ..models.objectives import Objective
from ..models.tokenizers import Tokenizer
from ..utils.plugins import loaded_plugins

KINDS = {Tokenizer: 'tokenizer', Masker: 'masker', Backbone: 'backbone', Objective: 'objective', BaseModel: 'model',
         BaseDataPreprocessor: 'preprocessor'}


@dataclass(frozen=True)
class Component:
    """A registered class or function.

    Args:
        kind: such as ``'masker'``; what is no part of a model is named by its registry.
        name: to be written in a config, with its scope.
        source: ``'core'``, ``'plugin'`` (a folder, or a module that a config named) or ``'package'`` (an installed one).
        where: the module; of a plugin the folder or the package, too.
        arguments: as its signature has them, by name.
        summary: first line of its docstring.
    """
    kind: str
    name: str
    source: str
    where: str
    arguments: dict[str, str]
    summary: str


def registered_components() -> list[Component]:
    """All of them, by kind and name; loads the core and plugins."""
    registries = [found for found in vars(ours).values() if isinstance(found, ours.Registry)]
    for registry in registries:
        registry.import_from_location()
    found = [_component(registry, name, cls) for registry in registries for name, cls in registry.module_dict.items()]
    return sorted(found, key=lambda component: (component.kind, component.name))


def kind_of(cls: type) -> str:
    """What kind of part of a model a class is: one of :data:`KINDS`, ``'decoder'``, or ``'module'`` for any other."""
    for base in inspect.getmro(cls):
        if base in KINDS:
            return KINDS[base]
    forward = list(inspect.signature(cls.forward).parameters) if hasattr(cls, 'forward') else []
    return 'decoder' if forward[1:3] == ['maps', 'grid'] else 'module'


def _component(registry: ours.Registry, name: str, cls: type) -> Component:
    source, where = _source_of(cls)
    kind = kind_of(cls) if registry is ours.MODELS else registry.name.replace('_', ' ')
    summary = (inspect.getdoc(cls) or '').split('\n')[0]
    return Component(kind, f'{registry.scope}.{name}', source, where, dict(_arguments_of(cls)), summary)


def _source_of(cls: type) -> tuple[str, str]:
    if cls.__module__.startswith('ssvideo.'):
        return 'core', cls.__module__
    for plugin in loaded_plugins():
        if f'{cls.__module__}.'.startswith(f'{plugin.module}.'):
            return plugin.source, f'{cls.__module__} ({plugin.where})'
    return 'plugin', cls.__module__


def _arguments_of(cls: type) -> Iterator[tuple[str, str]]:
    for parameter in inspect.signature(cls).parameters.values():
        annotation = parameter.annotation  # a string where annotations are postponed
        if not isinstance(annotation, str):
            annotation = '' if annotation is parameter.empty else inspect.formatannotation(annotation)
        text = annotation
        if parameter.default is not parameter.empty:
            text = f'{text} = {parameter.default!r}'.strip()
        yield parameter.name, text
