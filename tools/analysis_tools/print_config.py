"""Print a config with everything that it inherits, or value by value with the file that each comes from.

    python tools/analysis_tools/print_config.py configs/bevt_swin_b.py
    python tools/analysis_tools/print_config.py configs/bevt_swin_b_peco.py --sources --cfg-options max_epochs=10
"""
from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for custom_imports=['plugins.x'] from anywhere

from mmengine.config import Config, DictAction  # noqa: E402

from ssvideo.utils.plugins import plugin_argument, use_plugins  # noqa: E402

OPTIONS = '--cfg-options'


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line; mmaction2's words, and ``--sources``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('--sources', action='store_true', help='a line for each value, with the file that it comes from')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='override the config: key=value')
    plugin_argument(parser)
    return parser.parse_args(argv)


def values_of(node, place: str = '') -> Iterator[tuple[str, object]]:
    """The values of a config that are no dicts, by their place: ``model.backbone.depths``. Lists are values."""
    if isinstance(node, Mapping) and (node or not place):
        for key, value in node.items():
            yield from values_of(value, f'{place}.{key}'.lstrip('.'))
    else:
        yield place, node


def sources_of(path: str) -> tuple[dict[str, object], dict[str, str]]:
    """The values of a config file, and the file of each: the first that had it, of those that are inherited one from the other.

    A value that is inherited under another name counts as the file's own.
    """
    values = dict(values_of(Config.fromfile(path)._cfg_dict))
    sources = dict.fromkeys(values, path)
    for base in Config._get_base_files(path):
        file, _ = Config._get_cfg_path(base, path)  # 'mmaction::...', too
        inherited, before = sources_of(os.path.normpath(file))
        sources |= {place: before[place] for place, value in inherited.items() if place in values and values[place] == value}
    return values, sources


def main(argv: list[str] | None = None) -> None:
    """Print."""
    args = parse_args(argv)
    use_plugins(args.plugin)
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    if not args.sources:
        print(cfg.pretty_text)
        return
    values, sources = sources_of(args.config)
    for place, value in values_of(cfg._cfg_dict):
        source = sources[place] if place in values and values[place] == value else OPTIONS
        print(f'{place} = {value!r}  # {source}')


if __name__ == '__main__':
    main()
