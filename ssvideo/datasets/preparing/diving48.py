"""Diving48, version 2."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .release import Named, Release, find_file, read_json


def read_diving48(folder: Path) -> Release:
    """Read ``Diving48_V2_train.json``, ``Diving48_V2_test.json`` and ``Diving48_vocab.json``.

    Only version 2 is taken: the labels of version 1 are other ones, and no accuracy of the papers is measured with them.

    Source: Diving48, "RESOUND: Towards Action Recognition without Representation Bias", ECCV 2018.
    """
    names = {split: find_file(folder, f'Diving48_V2_{split}.json') for split in ('train', 'test')}
    classes = [' '.join(parts) if isinstance(parts, list) else str(parts)
               for parts in read_json(find_file(folder, 'Diving48_vocab.json'), list)]
    release = Release(classes, {}, together='videos')
    release.splits = {split: _read(file, release) for split, file in names.items()}
    return release


def _read(file: Path, release: Release) -> Iterator[Named]:
    for number, item in enumerate(read_json(file, list), 1):
        if isinstance(item, dict) and item.get('vid_name') and isinstance(item.get('label'), int):
            label = item['label']
            # a number without a name becomes an unknown class
            yield item['vid_name'], release.classes[label] if 0 <= label < len(release.classes) else str(label)
        else:
            release.call_odd(file, number, item)
