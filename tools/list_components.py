"""List every registered component by kind, with its source, arguments and first line: ``python tools/list_components.py``.

Installed plugins are listed, too, and those in folders that ``--plugin`` names.
"""
from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ssvideo.apis.registered_components import Component, registered_components  # noqa: E402
from ssvideo.utils.plugins import plugin_argument, use_plugins  # noqa: E402


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kind', nargs='+', metavar='KIND', help='such as masker backbone; default: all')
    parser.add_argument('--json', action='store_true', help='print a JSON list')
    plugin_argument(parser)
    return parser.parse_args(argv)


def describe(component: Component) -> str:
    """A few lines on a component."""
    arguments = [f'{name}: {text}'.rstrip(': ') for name, text in component.arguments.items()]
    return '\n'.join([f'{component.name}  [{component.source}: {component.where}]', f'    {component.summary}',
                      *(f'        {argument}' for argument in arguments)])


def main(argv: list[str] | None = None) -> None:
    """Print, or say in one line why not."""
    args = parse_args(argv)
    try:
        use_plugins(args.plugin)
        found = registered_components()
    except ValueError as error:
        sys.exit(f'error: {error}')
    kinds = sorted({component.kind for component in found})
    if unknown := set(args.kind or ()) - set(kinds):
        sys.exit(f'error: there are no components of the kind {", ".join(sorted(unknown))}; there are {", ".join(kinds)}')
    found = [component for component in found if not args.kind or component.kind in args.kind]
    if args.json:
        print(json.dumps([dataclasses.asdict(component) for component in found], indent=2))
        return
    for kind, group in itertools.groupby(found, key=lambda component: component.kind):
        print(f'== {kind}')
        print('\n'.join(describe(component) for component in group), end='\n\n')


if __name__ == '__main__':
    main()
