"""Folders that hold a model and all that is needed to use it."""
from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from .files import write_whole
from .model_file import ModelFile, build_model, checksum_of_file, read_model_file, refuse_other_weights
from .safetensors_file import read_safetensors, write_safetensors

FORMAT = 'ssvideo.export/1'
MODEL, WEIGHTS, PREPROCESSING, LABELS = 'model.json', 'model.safetensors', 'preprocessing.json', 'labels.json'
TOKENIZER = 'tokenizer.'
"""Weights of a classifier that its tokenizer's own file holds begin so."""


@dataclass
class ExportedFolder:
    """What :func:`write_exported` wrote.

    Args:
        path: the folder.
        config: of the model; the files it names are those of the folder.
        source: where the weights come from; see :func:`~ssvideo.utils.model_file.source_of`.
        preprocessing: see :func:`~ssvideo.utils.preprocessing.preprocessing_of`.
        labels: names of the classes, in order; None where they are not known.
    """
    path: Path
    config: dict
    source: dict
    preprocessing: dict
    labels: list[str] | None

    def model_file(self) -> ModelFile:
        """Architecture and weights.

        Raises:
            ValueError: if the weights are not a whole file.
        """
        return ModelFile(self.config, read_safetensors(self.path / WEIGHTS)[1], self.source)


def write_exported(folder: Path, model: ModelFile, preprocessing: Mapping, labels: Sequence[str] | None) -> None:
    """Write a model into a folder, together with the files that its config names as a ``checkpoint``.

    The weights of a tokenizer stay in its own file.

    Args:
        folder: an empty one.
        model: with the weights of everything but its tokenizers, which may be among them.
        preprocessing: see :func:`~ssvideo.utils.preprocessing.preprocessing_of`.
        labels: names of the classes, in order, if they are known.

    Raises:
        FileNotFoundError: if a file that the config names is not there.
        ValueError: if the config cannot be built, or the weights are not those of the model.
    """
    weights, copied = _without_tokenizer(model), {}
    config = _with_files(model.config, lambda path: _copy_into(folder, path, copied))
    write_safetensors(folder / WEIGHTS, weights, dict(format=FORMAT))
    _write_json(folder / PREPROCESSING, preprocessing)
    if labels is not None:
        _write_json(folder / LABELS, list(labels))
    checksums = {path.name: checksum_of_file(path) for path in sorted(folder.iterdir())}
    _write_json(folder / MODEL, dict(format=FORMAT, model=config, source=model.source, sha256=checksums))


def read_exported(folder: str | Path) -> ExportedFolder:
    """Read a folder; nothing in it is executed, and nothing outside it is read.

    Raises:
        FileNotFoundError: if there is no such folder, or a file is missing from it.
        ValueError: if it is no exported model, or a file is not the one that was exported.
    """
    folder = Path(folder)
    if not (folder / MODEL).is_file():
        raise FileNotFoundError(f'{folder} is no exported model: it has no {MODEL}. Make one with "tools/export.py CONFIG '
                                'CHECKPOINT OUT"')
    described = _read_json(folder / MODEL)
    if not isinstance(described, dict) or described.get('format') != FORMAT:
        got = described.get('format') if isinstance(described, dict) else type(described).__name__
        raise ValueError(f'{folder / MODEL}: got the format {got!r}, expected {FORMAT!r}: export the model again')
    try:
        config, source, checksums = (described[key] for key in ('model', 'source', 'sha256'))
        _check_files(folder, checksums)
        labels = _read_json(folder / LABELS) if LABELS in checksums else None
        config = _with_files(config, lambda name: _inside(folder, name, checksums))
        return ExportedFolder(folder, config, source, _read_json(folder / PREPROCESSING), labels)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f'{folder / MODEL} does not describe a model: {error!r}') from error


def read_model(path: str | Path) -> ModelFile:
    """Read a model from its file or its folder.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        ValueError: if it is neither a model file nor an exported model.
    """
    return read_exported(path).model_file() if Path(path).is_dir() else read_model_file(path)


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Fill a folder that is there whole or not at all.

    Args:
        path: what it is called in the end; must not be there.

    Yields:
        An empty folder beside it, which is renamed when all went well, and else removed.

    Raises:
        FileExistsError: if there is such a folder or file.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f'{path} is there already: name another folder, or remove it')
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'{path.name}.tmp')
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
    temporary.mkdir()
    try:
        yield temporary
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _without_tokenizer(model: ModelFile) -> dict[str, Tensor]:
    """The weights but those of a tokenizer, once all are seen to be those of the model."""
    expected = build_model(model.config).state_dict()
    own = {name: value for name, value in expected.items() if name.startswith(TOKENIZER)}
    given = own | model.weights
    refuse_other_weights(model.config['type'], expected, given)
    if others := [name for name, value in own.items() if not given[name].equal(value)]:
        raise ValueError(f'the tokenizer whose weights are in the checkpoint is not that of the file that the config names '
                         f'({len(others)} weights differ, such as {others[0]}): give the file that it was trained with')
    return {name: value for name, value in given.items() if name not in own}


def _with_files(config, rename: Callable[[str], str]):
    """A config with every ``checkpoint`` in it renamed."""
    if isinstance(config, Mapping):
        return {key: rename(value) if key == 'checkpoint' and value is not None else _with_files(value, rename)
                for key, value in config.items()}
    return [_with_files(value, rename) for value in config] if isinstance(config, list | tuple) else config


def _copy_into(folder: Path, path: str, copied: dict[str, str]) -> str:
    """Copy a file under a plain name, once; the name."""
    if not Path(path).is_file():
        raise FileNotFoundError(f'the config names {path}, which is not there: the exported model needs it')
    if path not in copied:
        copied[path] = f'tokenizer{f"_{len(copied) + 1}" if copied else ""}{Path(path).suffix}'
        shutil.copyfile(path, folder / copied[path])
    return copied[path]


def _inside(folder: Path, name: str, checksums: Mapping) -> str:
    if name not in checksums or Path(name).name != name:
        raise ValueError(f'{folder / MODEL} names the file {name!r}, which is not one of the folder: refused')
    return str(folder / name)


def _check_files(folder: Path, checksums: Mapping[str, str]) -> None:
    for name in {WEIGHTS, PREPROCESSING, *checksums}:
        if not (folder / name).is_file():
            raise FileNotFoundError(f'{folder} lacks {name}: copy the whole folder')
        if checksum_of_file(folder / name) != checksums.get(name):
            raise ValueError(f'{folder / name} is not the file that was exported (its SHA-256 differs): copy the folder again, '
                             'or export the model again')


def _write_json(path: Path, content) -> None:
    write_whole(path, json.dumps(content, indent=2) + '\n')


def _read_json(path: Path):
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f'{path} is no JSON: {error}') from error
