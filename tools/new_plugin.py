"""Write a plugin to start from, which fulfils its contract and trains: ``python tools/new_plugin.py NAME --kind KIND``.

The folder holds a module, a config that trains it on the quickstart's data, a test and a README. What it is made from lies in
``tools/templates``: small components that work.
"""
from __future__ import annotations

import argparse
import importlib.util
import keyword
import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ssvideo.registry import MODELS  # noqa: E402
from ssvideo.utils.plugins import module_of  # noqa: E402

TEMPLATES = Path(__file__).resolve().parent / 'templates'
ROOT = Path(__file__).resolve().parents[1]
"""The repository, or ``ssvideo/share`` of an installed package."""
KINDS = ('tokenizer', 'masker', 'backbone', 'objective', 'model')
MODULE, CLASS = 'my_plugin', 'MyPlugin'


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', help='of the plugin, in small letters, digits and _: patch_order gives the class PatchOrder')
    parser.add_argument('--kind', choices=KINDS, required=True)
    parser.add_argument('--out', type=Path, help='folder to write, which must not be there; default: plugins/NAME')
    return parser.parse_args(argv)


def class_of(name: str) -> str:
    """The class of a plugin: ``patch_order`` gives ``PatchOrder``.

    Raises:
        ValueError: if the name cannot be that of a module, or the class exists.
    """
    if not name.isidentifier() or name != name.lower() or not name[0].isalpha() or keyword.iskeyword(name):
        raise ValueError(f'the name of a plugin has small letters, digits and _, and begins with a letter; got {name!r}')
    cls = ''.join(part.capitalize() for part in name.split('_'))
    MODELS.import_from_location()
    if cls in MODELS.module_dict:
        raise ValueError(f'{name}: the class {cls} exists ({MODELS.module_dict[cls].__module__}), choose another name')
    return cls


def words_of(name: str, folder: Path) -> dict[str, str]:
    """What stands for the words of a template, in the order in which they are replaced.

    Args:
        name: of the plugin.
        folder: to be written, with an ``__init__.py`` in it.

    Raises:
        ValueError: if Python knows another module of that name.
    """
    cls = class_of(name)
    dotted, root = module_of(folder)
    final = folder.parent / name
    known = importlib.util.find_spec(name) if '.' not in dotted else None
    if known is not None:
        raise ValueError(f'{name} is a module that Python finds in {known.origin or "a package"}: choose another name')
    inside = root == ROOT
    configs = os.path.relpath(ROOT / 'configs', final) if inside else str(ROOT / 'configs')
    return {f'.{MODULE} import': f'.{name} import', f'`{MODULE}.py`': f'`{name}.py`', f'test_{MODULE}': f'test_{name}',
            MODULE: '.'.join([*dotted.split('.')[:-1], name]), CLASS: cls, 'CONFIGS': configs, 'FOLDER': _shown(final),
            ' --plugin HERE': '' if inside else f' --plugin {_shown(final)}'}


def write_plugin(name: str, kind: str, out: Path) -> Path:
    """Write the folder, whole or not at all.

    Args:
        name: of the plugin; also that of the folder.
        kind: one of :data:`KINDS`.
        out: the folder.

    Returns:
        The folder.

    Raises:
        ValueError: for a name that cannot be used, or a folder that exists or is called otherwise.
    """
    out = out.absolute()
    if out.name != name:
        raise ValueError(f'the folder of the plugin {name} is called {name}, got --out {out}')
    if out.exists():
        raise ValueError(f'{out} exists; nothing was written')
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f'{name}_{os.getpid()}_tmp')
    try:
        shutil.copytree(TEMPLATES / kind, temporary, ignore=shutil.ignore_patterns('__pycache__'))
        words = words_of(name, temporary)
        for path in sorted(temporary.iterdir()):
            text = path.read_text()
            for word, value in words.items():
                text = text.replace(word, value)
            path.write_text(text)
            path.rename(path.with_name(path.name.replace(MODULE, name)))
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return out


def _shown(path: Path) -> str:
    """As short as it can be written from here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def main(argv: list[str] | None = None) -> None:
    """Write, and say what to do with it."""
    args = parse_args(argv)
    try:
        out = write_plugin(args.name, args.kind, args.out or Path('plugins') / args.name)
    except (ValueError, OSError) as error:
        sys.exit(f'error: {error}')
    shown = _shown(out)
    print(f'python -m pytest {shown}\n'
          f'pytest --pyargs ssvideo.contracts --component {shown}/config.py --plugin {shown}\n'
          f'python tools/train.py {shown}/config.py --plugin {shown}\n'
          f'The plugin is in {shown}; the lines above test, check and train it')


if __name__ == '__main__':
    main()
