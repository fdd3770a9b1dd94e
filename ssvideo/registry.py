"""One child registry for each node of mmengine's that the package fills; scope ``ssvideo``.

Configs set ``default_scope = 'mmaction'`` and write a component of this package, or of a plugin, as ``ssvideo.X``.
Inside a component of ours a bare ``X`` is found as well.
"""
from __future__ import annotations

import inspect
from contextlib import contextmanager
from difflib import get_close_matches

import mmengine.registry as root
from mmengine.registry import DefaultScope

from .utils.plugins import load_plugins


class Registry(root.Registry):
    """mmengine's registry that looks at home first and, where it finds nothing, says what was probably meant.

    mmengine resolves a bare name in the *default scope* (``mmaction`` in our configs), so a component of ours that is
    written without its prefix would end in a bare ``KeyError``.

    What is looked up first loads the core's components, then plugins; see :mod:`ssvideo.utils.plugins`.
    """

    @contextmanager
    def switch_scope_and_registry(self, scope):
        """Stay in this registry unless a config names another scope with ``_scope_``."""
        if scope is None:
            yield self
        else:
            with super().switch_scope_and_registry(scope) as registry:
                yield registry

    def get(self, key: str):
        """Return the class registered as ``key``.

        Args:
            key: ``X`` (ours, then mmengine's, then the default scope's) or ``scope.X``.

        Raises:
            KeyError: if nothing is registered under that name; the message proposes the nearest names.
        """
        if not isinstance(key, str):
            raise TypeError(f'{self.name}: a component is named by a string, got {key!r}')
        found = super().get(key) or self._get_from_default_scope(key)
        if found is None:
            raise KeyError(self.not_found(key))
        return found

    def import_from_location(self) -> None:
        """Load the core's components, then plugins.

        Raises:
            PluginError: for a plugin that cannot be loaded.
        """
        super().import_from_location()
        load_plugins()

    def _register_module(self, module: type, module_name: str | list[str] | None = None, force: bool = False) -> None:
        """Register; the core's names are there before anybody else's, so that a clash is the other's.

        Raises:
            ValueError: for a name that exists, and ``force`` is not set.
        """
        if not getattr(module, '__module__', '').startswith('ssvideo.'):
            super().import_from_location()
        for name in [module_name or module.__name__] if not isinstance(module_name, list) else module_name:
            if name in self._module_dict and not force:
                raise ValueError(self._name_exists(name, module))
        super()._register_module(module, module_name, force)

    def _name_exists(self, name: str, module: type) -> str:
        taken = self._module_dict[name]
        first, second = (f'{cls.__module__}.{cls.__qualname__}' for cls in (taken, module))
        if first != second and inspect.getfile(taken) == inspect.getfile(module):
            return (f'{inspect.getfile(module)} was imported under two names, so {name!r} is registered as {first} and as '
                    f'{second}: import it by the first name only')
        return (f'the name {name!r} exists in the registry "{self.scope}.{self.name}": {first} has it, and {second} wants it; '
                'give the class another name')

    def _get_from_default_scope(self, key: str):
        scope = DefaultScope.get_current_instance()
        if scope is None or '.' in key or scope.scope_name == self.scope:
            return None
        sibling = self._search_child(scope.scope_name)
        return sibling.get(key) if sibling else None

    def not_found(self, key: str) -> str:
        """The message for a name that is not registered: what was asked, what is near, what to do."""
        self.import_from_location()
        name = key.removeprefix(f'{self.scope}.')
        near = get_close_matches(name, self.module_dict, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(f'{self.scope}.{n}' for n in near)}? " if near else ''
        return (f'{key} is not in the registry "{self.scope}.{self.name}": {hint}A plugin must be imported first: '
                "give its folder with --plugin DIR, or write custom_imports = dict(imports=['ssvideo', 'plugins.my_plugin'])")


def _child(parent: root.Registry, *locations: str) -> Registry:
    return Registry(parent.name, parent=parent, scope='ssvideo', locations=list(locations))


MODELS = _child(root.MODELS, 'ssvideo.models')
"""Tokenizers, maskers, backbones, decoders, objectives, ``Pretrainer`` and ``ClipClassifier``."""
MODEL_WRAPPERS = _child(root.MODEL_WRAPPERS, 'ssvideo.engine')
DATASETS = _child(root.DATASETS, 'ssvideo.datasets')
DATA_SAMPLERS = _child(root.DATA_SAMPLERS, 'ssvideo.datasets')
TRANSFORMS = _child(root.TRANSFORMS, 'ssvideo.datasets')
FUNCTIONS = _child(root.FUNCTIONS, 'ssvideo.datasets')
LOOPS = _child(root.LOOPS, 'ssvideo.engine')
HOOKS = _child(root.HOOKS, 'ssvideo.engine')
OPTIMIZERS = _child(root.OPTIMIZERS, 'ssvideo.engine')
OPTIM_WRAPPERS = _child(root.OPTIM_WRAPPERS, 'ssvideo.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(root.OPTIM_WRAPPER_CONSTRUCTORS, 'ssvideo.engine')
WEIGHT_INITIALIZERS = _child(root.WEIGHT_INITIALIZERS, 'ssvideo.engine')
METRICS = _child(root.METRICS, 'ssvideo.evaluation')
VISUALIZERS = _child(root.VISUALIZERS, 'ssvideo.visualization')
