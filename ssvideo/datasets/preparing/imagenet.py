"""ImageNet-1K (ILSVRC 2012)."""
from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from .media_files import MediaFiles
from .release import Named, Release, read_lines, read_rows

FOLDERS = ('train', 'val')
SMALLEST_CLASS = 732  # training images; the largest has 1300. ILSVRC, arXiv:1409.0575, Table 2


def read_imagenet(files: MediaFiles, annotations: Path | None) -> Release:
    """Read the class folders of ``train`` and ``val``; labels are the synsets (``n01440764``, ...) in order.

    Training images have no annotation but their folders. Of Kaggle's copy, ``LOC_synset_mapping.txt`` names the classes
    and ``LOC_val_solution.csv`` those of a ``val`` without folders. The development kit is not read: it numbers the
    classes in another order, told only in a MATLAB file.

    Args:
        files: below the folder with ``train`` and, perhaps, ``val``.
        annotations: folder of Kaggle's two files, each optional; None: the class folders tell all.

    Raises:
        ValueError: if ``train`` holds no class folders.
    """
    by_folder = {part: sorted(_of_folders(files, part)) for part in FOLDERS}
    found = Counter(label for _, label in by_folder['train'])
    if not found:
        raise ValueError(f'{files.root}: expected images in train/<synset>/, such as train/n01440764/')
    mapping = None if annotations is None else annotations / 'LOC_synset_mapping.txt'
    named = mapping is not None and mapping.is_file()
    classes = [line.split()[0] for _, line in read_lines(mapping)] if named else sorted(found)
    release = Release(classes, dict(train=by_folder['train']))
    if small := [name for name in classes if found[name] < SMALLEST_CLASS]:
        release.notes.append(f'{len(small)} classes have fewer than {SMALLEST_CLASS} training images, the fewest of the '
                             f'release: {", ".join(f"{name} ({found[name]})" for name in small[:3])}, ...')
    solution = None if annotations is None else annotations / 'LOC_val_solution.csv'
    if solution is not None and solution.is_file():
        release.splits['val'] = _read_solution(solution, release)
    elif by_folder['val']:
        release.splits['val'] = by_folder['val']
    else:
        release.notes.append('val.txt is not written: val/ has no class folders, and there is no LOC_val_solution.csv')
    return release


def _of_folders(files: MediaFiles, part: str) -> Iterator[Named]:
    for path in files:
        top, _, rest = path.partition('/')
        label, _, image = rest.rpartition('/')
        if top == part and label:
            yield os.path.splitext(path)[0], label


def _read_solution(file: Path, release: Release) -> Iterator[Named]:
    for number, row in read_rows(file, 'ImageId', 'PredictionString'):
        if row['ImageId'] and row['PredictionString']:
            yield f'val/{row["ImageId"]}', row['PredictionString'].split()[0]
        else:
            release.call_odd(file, number, ','.join(row.values()))
