"""Finding plugins: folders given by path, installed packages, and modules that a config names.

A plugin is Python that registers components in ``ssvideo.registry`` when it is imported. It is found in three ways, in this
order; what has been imported is not imported again:

1. ``--plugin DIR`` of the tools, or the environment's ``SSVIDEO_PLUGINS`` (folders, separated as in ``PATH``), which the
   tools set for the processes that they start: loader workers, and whatever else imports ssvideo there.
2. Installed packages with an entry point in the group ``ssvideo.plugins``, whose value names the module to import.
3. ``custom_imports`` in a config.

The first two are loaded when a component is first looked up in a registry of ours, whoever looks: so mmaction2's own tools
need no more than ``custom_imports = dict(imports=['ssvideo'])``, and ``import ssvideo`` stays light.
"""
from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from mmengine.config import Config
from mmengine.utils import import_modules_from_strings

GROUP = 'ssvideo.plugins'
"""Group of the entry points."""
VARIABLE = 'SSVIDEO_PLUGINS'
"""Of the environment: folders of plugins."""


class PluginError(ValueError):
    """A plugin that cannot be used; the message names it, its file, what is wrong and what to do."""


@dataclass(frozen=True)
class Plugin:
    """Where a plugin comes from.

    Args:
        module: name that it is imported by.
        source: ``'plugin'`` for a folder, ``'package'`` for an installed one.
        where: the folder, or the package with its version.
    """
    module: str
    source: str
    where: str


_loaded: dict[str, Plugin] = {}
_errors: dict[str, PluginError] = {}
_state = dict(loading=False, installed=False, folders='')


def plugin_argument(parser: argparse.ArgumentParser) -> None:
    """Add the word ``--plugin``."""
    parser.add_argument('--plugin', action='append', default=[], metavar='DIR',
                        help='folder of a plugin, which is imported before the config is read; may be given several times')


def use_plugins(folders: Iterable[str | Path]) -> None:
    """Load plugins by their folders, here and in the processes that this one starts.

    Args:
        folders: each with an ``__init__.py``. One that lies in a package, such as ``plugins/pixel_targets``, is imported as
            part of it (``plugins.pixel_targets``), any other by its own name, so that a config may name it as well.

    Raises:
        PluginError: for a folder that is no plugin or cannot be imported, or a name that exists.
    """
    known = [folder for folder in os.environ.get(VARIABLE, '').split(os.pathsep) if folder]
    for folder in folders:
        path = str(Path(folder).resolve())
        if os.pathsep in path:
            raise PluginError(f'--plugin {folder}: {path!r} contains {os.pathsep!r}, which separates folders: rename it')
        module_of(path)
        known += [] if path in known else [path]
    if known:
        os.environ[VARIABLE] = os.pathsep.join(known)
    load_plugins()


def load_plugins() -> None:
    """Load the folders of the environment and the installed packages; those that are loaded already cost nothing.

    Raises:
        PluginError: for the first that cannot be imported, or registers a name that exists.
    """
    folders = os.environ.get(VARIABLE, '')
    if _state['loading'] or (_state['installed'] and _state['folders'] == folders):
        return
    _state['loading'] = True
    try:
        found = [folder_plugin(folder) for folder in folders.split(os.pathsep) if folder]
        for plugin in [*found, *([] if _state['installed'] else installed_plugins())]:
            import_plugin(plugin.module, plugin)
        _state.update(installed=True, folders=folders)
    finally:
        _state['loading'] = False


def loaded_plugins() -> list[Plugin]:
    """The folders and packages that have been loaded."""
    return list(_loaded.values())


def installed_plugins() -> list[Plugin]:
    """What the installed packages declare, in the order of their names."""
    found = [Plugin(point.value.split(':')[0], 'package', f'{point.dist.name} {point.dist.version}')
             for point in entry_points(group=GROUP)]
    return sorted(set(found), key=lambda plugin: plugin.module)


def folder_plugin(folder: str | Path) -> Plugin:
    """The plugin in a folder, which Python can then import; see :func:`use_plugins`."""
    name, root = module_of(folder)
    if str(root) not in sys.path:
        sys.path.append(str(root))  # at the end: it hides nothing
    importlib.invalidate_caches()
    try:
        spec = importlib.util.find_spec(name)
    except ImportError as error:  # of the package around it
        raise _explained(error, Plugin(name, 'plugin', str(folder))) from error
    if spec is None or spec.origin is None or not Path(spec.origin).samefile(Path(folder) / '__init__.py'):
        other = spec.origin if spec else 'another package of that name'
        raise PluginError(f'the plugin {folder} is called {name}, which Python finds elsewhere ({other}): rename the folder')
    return Plugin(name, 'plugin', str(folder))


def module_of(folder: str | Path) -> tuple[str, Path]:
    """The name that a folder is imported by, and the folder that has to be searched for it.

    Raises:
        PluginError: if it is no folder with an ``__init__.py``, or its name cannot be imported.
    """
    path = Path(folder).resolve()
    if not (path / '__init__.py').is_file():
        raise PluginError(f'{folder} is no plugin: expected a folder with an __init__.py that imports its components. '
                          'tools/new_plugin.py writes one')
    root = path.parent
    while (root / '__init__.py').is_file():
        root = root.parent
    parts = path.relative_to(root).parts
    if not all(part.isidentifier() for part in parts):
        raise PluginError(f'the plugin {folder} cannot be imported as {".".join(parts)}: rename the folder, with letters, digits '
                          'and _ only')
    return '.'.join(parts), root


def import_plugin(name: str, plugin: Plugin | None = None) -> ModuleType:
    """Import a module that registers components, or say what is wrong with it.

    Args:
        name: of the module.
        plugin: where it comes from; ``None`` for a module that a config names.

    Raises:
        PluginError: if it cannot be imported, or registers a name that exists.
    """
    if name in _errors:  # half of it may be imported, so a second attempt would fail of something else
        raise _errors[name]
    try:
        module = importlib.import_module(name)
    except PluginError:
        raise
    except Exception as error:
        _errors[name] = _explained(error, plugin or Plugin(name, 'config', 'custom_imports'))
        raise _errors[name] from error
    if plugin is not None:
        _loaded.setdefault(name, plugin)
    return module


def config_with_plugins(path: str | Path) -> Config:
    """A config with what its ``custom_imports`` name imported; mmengine's own way hides why a module cannot be.

    Raises:
        PluginError: if one cannot be imported, or registers a name that exists.
    """
    cfg = Config.fromfile(path, import_custom_modules=False)
    wanted = cfg.get('custom_imports') or {}
    if wanted.get('allow_failed_imports'):
        import_modules_from_strings(**wanted)
    else:
        names = wanted.get('imports') or []
        for name in [names] if isinstance(names, str) else names:
            import_plugin(name)
    return cfg


def _explained(error: Exception, plugin: Plugin) -> PluginError:
    place = _place_of(error, plugin)
    if isinstance(error, ModuleNotFoundError) and _is_missing(plugin.module, error.name):
        advice = 'give its folder with --plugin DIR, or install it'
    elif isinstance(error, ModuleNotFoundError):
        advice = f'install {error.name}, or leave the plugin out'
    elif plugin.source == 'package':
        advice = f'mend it, or uninstall {plugin.where.split()[0]}'
    else:
        advice = 'mend it, or leave it out'
    return PluginError(f'the plugin {plugin.module} ({plugin.where}) cannot be imported: {type(error).__name__}: {error}'
                       f'{place}; {advice}')


def _is_missing(module: str, name: str | None) -> bool:
    return name is not None and f'{module}.'.startswith(f'{name}.')


def _place_of(error: Exception, plugin: Plugin) -> str:
    """The line of the plugin's own files at which it failed."""
    if isinstance(error, SyntaxError) and error.filename:
        return ''  # its text says so
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith('<frozen')]
    folder = plugin.module.split('.')[-1]
    own = [frame for frame in frames if folder in Path(frame.filename).with_suffix('').parts]
    return f' ({own[-1].filename}, line {own[-1].lineno})' if own else ''
