"""Where a trained model comes from: its data, the libraries, what its run has logged."""
from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..utils.model_file import checksum_of_file
from ..version import __version__
from ..visualization.curves import read_scalars

LIBRARIES = ('torch', 'torchvision', 'numpy', 'mmengine', 'mmcv-lite', 'mmcv', 'mmaction2', 'timm', 'av', 'safetensors')
LISTS = ('source', 'labels', 'store')
"""Arguments of data sets that name files or folders."""
NOT_RESULTS = ('lr', 'base_lr', 'momentum', 'time', 'data_time', 'memory', 'grad_norm', 'eta')
RESULT_FILES = ('results.json', 'temporal.json', 'frozen.json')
"""What tools write beside a run's logs; ``results.json`` lies above the folders of seeds or splits."""


def data_of(config: Mapping) -> list[dict]:
    """The lists, folders and token stores that a training reads.

    Args:
        config: of a training; its ``*_dataloader`` are looked at.

    Returns:
        For each: ``used_by`` (places in the config), ``path``, and of a list ``sha256`` and ``num_lines``, of a token store what
        its manifest says: ``sha256`` (of the names, lengths and labels of its videos), ``num_videos`` and ``tokenizer``. Of a
        folder of files nothing more is told, and of what is not on this machine ``missing`` is True.
    """
    found: dict[str, dict] = {}
    for place, dataset in _datasets(config):
        for path in _paths(dataset):
            entry = found.setdefault(path, dict(path=path, used_by=[], **_describe(Path(path))))
            entry['used_by'].append(place)
    return list(found.values())


def versions() -> dict[str, str]:
    """Versions of Python, of this package, and of the libraries it computes with, as installed here."""
    found = dict(python=platform.python_version(), ssvideo=__version__)
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def results_of(work_dir: str | Path) -> dict:
    """What a run has logged and what tools have found with it.

    Args:
        work_dir: the run's.

    Returns:
        ``logged``: of each quantity the last ``[step, value]``; ``tested``: figures of each test, by the time it was started;
        and the content of each of :data:`RESULT_FILES` that is there. Empty where there is nothing.

    Raises:
        ValueError: if a log has a line that is no JSON object.
    """
    work_dir = Path(work_dir)
    logged = {name: list(points[-1]) for name, points in read_scalars(work_dir).items() if name not in NOT_RESULTS}
    tests = [path for path in sorted(work_dir.glob('*/*.json')) if path.stem == path.parent.name]  # as mmengine names them
    tested = {path.stem: json.loads(path.read_text()) for path in tests}
    found = dict(logged=logged, tested=tested)
    repeated = work_dir.name.startswith(('seed_', 'split_'))
    for folder in (work_dir.parent, work_dir)[not repeated:]:
        found |= {name: json.loads((folder / name).read_text()) for name in RESULT_FILES if (folder / name).is_file()}
    return {name: content for name, content in found.items() if content}


def _datasets(config: Mapping) -> Iterator[tuple[str, Mapping]]:
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = config.get(name) or {}
        streams = {'': loader} if 'dataset' in loader else loader
        for stream, part in streams.items():
            yield f'{name}.{stream}'.rstrip('.'), part['dataset']


def _paths(dataset: Mapping) -> Iterator[str]:
    """What a data set reads; of a list with a ``data_root`` the list is meant."""
    for word in LISTS:
        value = dataset.get(word)
        for path in value if isinstance(value, list | tuple) else [value]:
            if isinstance(path, str | Path):
                yield str(path)


def _describe(path: Path) -> dict:
    if path.is_file():
        return dict(sha256=checksum_of_file(path), num_lines=path.read_bytes().count(b'\n'))
    if (path / 'manifest.json').is_file():
        manifest = json.loads((path / 'manifest.json').read_text())
        return dict(sha256=manifest.get('videos'), num_videos=manifest.get('num_videos'), tokenizer=manifest.get('tokenizer'))
    return dict(folder=True) if path.is_dir() else dict(missing=True)
