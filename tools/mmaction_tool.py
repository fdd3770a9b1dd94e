"""Start a tool that mmaction2 ships, as it is: ``python tools/mmaction_tool.py confusion_matrix CONFIG DUMP.pkl --out FILE.pkl``.

mmaction2 1.2.0 cannot import all of itself (:mod:`ssvideo.utils.mmaction_wheel`), so some of its tools end before they have read
a config. Here they start after the mend. Without a name, all of them are listed.
"""
from __future__ import annotations

import argparse
import difflib
import importlib.util
import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for custom_imports=['plugins.x'] from anywhere

from ssvideo.utils.mmaction_wheel import mend_mmaction_wheel  # noqa: E402


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line; all behind the name is the tool's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', nargs='?', help='such as confusion_matrix, or analysis_tools/eval_metric.py')
    parser.add_argument('words', nargs=argparse.REMAINDER, help='of the tool; --help shows them')
    return parser.parse_args(argv)


def shipped_tools() -> dict[str, Path]:
    """The Python tools of the installed mmaction2: files by their name below its folder of tools, without the suffix.

    Raises:
        ValueError: if this mmaction2 came without its tools.
    """
    package = Path(importlib.util.find_spec('mmaction').origin).parent
    root = package / '.mim' / 'tools'
    found = {path.relative_to(root).with_suffix('').as_posix(): path for path in sorted(root.rglob('*.py'))}
    if not found:
        raise ValueError(f'there are no tools in {root}: the wheel of mmaction2 has them (pip install mmaction2)')
    return found


def tool_of(name: str) -> Path:
    """The file of a tool.

    Args:
        name: with or without its folder and suffix.

    Raises:
        ValueError: if there is none of this name, or several.
    """
    tools, asked = shipped_tools(), name.removesuffix('.py')
    found = [tools[asked]] if asked in tools else [path for path in tools.values() if path.stem == asked]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f'{len(found)} tools are called {name!r}: write one of '
                         f'{[known for known, path in tools.items() if path in found]}')
    close = difflib.get_close_matches(asked.rsplit('/', 1)[-1], [path.stem for path in tools.values()], n=1)
    raise ValueError(f'mmaction2 has no tool {name!r}' + (f': did you mean {close[0]}?' if close else '; without a name, all of '
                     'its tools are listed'))


def main(argv: list[str] | None = None) -> None:
    """Run the tool in this process, as ``python TOOL words`` would; or list all."""
    args = parse_args(argv)
    try:
        if args.name is None:
            print('\n'.join(shipped_tools()))
            return
        path = tool_of(args.name)
    except ValueError as error:
        sys.exit(f'error: {error}')
    mend_mmaction_wheel()
    sys.argv = [str(path), *args.words]
    sys.path.insert(0, str(path.parent))  # where Python puts the folder of a script
    runpy.run_path(str(path), run_name='__main__')


if __name__ == '__main__':
    main()
