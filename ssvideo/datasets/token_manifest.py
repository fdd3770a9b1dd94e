"""What a token store says about itself: the settings that all its videos share, and counts."""
from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

FORMAT = 'ssvideo.tokens/2'

SPECIFIED = ('tokenizer', 'fps', 'size', 'grid', 'vocab_size')
"""What a manifest must say of every video: checksum of the tokenizer, frames per second, (height, width) of the frames
that were tokenized, (h, w) of the tokens, number of ids."""

COUNTED = ('num_videos', 'num_frames', 'shards', 'videos', 'version')
"""What is added when a store is finished: counts, for each shard its name, videos and bytes, a checksum of the names,
lengths and labels of all videos, and the version of this package."""


def specified(manifest: Mapping) -> dict:
    """The settings of a manifest, without counts, as JSON gives them back.

    Raises:
        ValueError: if one of ``SPECIFIED`` is missing.
    """
    if missing := [key for key in SPECIFIED if key not in manifest]:
        raise ValueError(f'the manifest of a token store needs {list(SPECIFIED)}; {missing} are missing')
    settings = dict(compression=None) | dict(manifest) | dict(format=FORMAT)
    return json.loads(json.dumps({key: value for key, value in settings.items() if key not in COUNTED}))


def read_manifest(path: Path) -> dict:
    """The manifest of a finished store.

    Raises:
        ValueError: if the store is not finished, or of another format.
    """
    file = path / 'manifest.json'
    if not file.is_file():
        raise ValueError(f'{path} is no finished token store: it has no manifest.json. Make one, or finish it, with '
                         'tools/extract_tokens.py')
    manifest = json.loads(file.read_text())
    if manifest.get('format') != FORMAT:
        raise ValueError(f'{file} has the format {manifest.get("format")!r}, this version reads {FORMAT!r}: extract the '
                         'tokens again')
    return manifest


def view_folders(path: Path) -> list[Path]:
    """The stores of a folder: itself, or, where it has no manifest, its sub-folders that have one, by name."""
    if (path / 'manifest.json').is_file() or not path.is_dir():
        return [path]
    return sorted(file.parent for file in path.glob('*/manifest.json')) or [path]


def differences(found: Mapping, expected: Mapping) -> list[str]:
    """What is in ``expected`` and otherwise in ``found``, in words."""
    expected = json.loads(json.dumps(dict(expected)))  # tuples become lists, as in a file
    return [f'{key} is {found.get(key)!r}, expected {value!r}' for key, value in expected.items()
            if found.get(key) != value]


def all_differences(found: Mapping, expected: Mapping) -> list[str]:
    """As ``differences``; what only ``found`` has counts, too."""
    return differences(found, dict.fromkeys(found) | dict(expected))
