"""Files that hold a model: safetensors whose metadata says how to build it."""
from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from ..registry import MODELS
from .safetensors_file import read_safetensors, write_safetensors

FORMAT = 'ssvideo.model/1'


@dataclass
class ModelFile:
    """A model as data.

    Args:
        config: of a component of ``ssvideo.registry.MODELS``, in JSON's types.
        weights: the state dict.
        source: where the weights come from; see :func:`source_of`.
    """
    config: dict
    weights: dict[str, Tensor]
    source: dict = field(default_factory=dict)

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all, once the weights are seen to fit the model.

        Args:
            path: ``.safetensors``.

        Raises:
            ValueError: if the config cannot be built, or the weights are not exactly those of the model.
        """
        if not str(path).endswith('.safetensors'):
            raise ValueError(f'a model file ends in .safetensors, got {path}')
        self.check()
        write_safetensors(path, self.weights, dict(format=FORMAT, config=json.dumps(self.config),
                                                   source=json.dumps(self.source)))

    def check(self) -> None:
        """Raise ``ValueError`` if the config cannot be built, or the weights are not exactly those of the model."""
        refuse_other_weights(self.config['type'], build_model(self.config).state_dict(), self.weights)


def read_model_file(path: str | Path) -> ModelFile:
    """Read a file written by :meth:`ModelFile.save`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no model file.
    """
    if Path(path).is_file() and not str(path).endswith('.safetensors'):
        raise ValueError(f'{path} is not a model file (.safetensors). Make one with "tools/convert_checkpoint.py '
                         'vimpac|bevt|swin2d SOURCE OUT" from published weights, with "... checkpoint CONFIG SOURCE OUT" from a '
                         'training of this package')
    metadata, weights = read_safetensors(path)
    if metadata.get('format') != FORMAT:
        raise ValueError(f'{path} is not a model file: its metadata says format={metadata.get("format")!r}, expected '
                         f'{FORMAT!r}. Convert published weights with "tools/convert_checkpoint.py"')
    try:
        config, source = json.loads(metadata['config']), json.loads(metadata.get('source', '{}'))
    except (KeyError, json.JSONDecodeError) as error:
        raise ValueError(f'{path}: the metadata does not describe the model: {error!r}') from error
    if not isinstance(config, dict) or not isinstance(source, dict):
        raise ValueError(f'{path}: config and source in the metadata must be JSON objects')
    return ModelFile(config, weights, source)


def source_of(path: str | Path, notes: list[str]) -> dict:
    """Describe the file that weights come from: its name, its SHA-256, and what was taken for granted about them."""
    return dict(file=Path(path).name, sha256=checksum_of_file(path), notes=notes)


def checksum_of_file(path: str | Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def build_model(config: Mapping) -> nn.Module:
    """Build a model from a config that came out of a file and is therefore not trusted.

    Only what is registered in ``ssvideo.registry.MODELS`` can be built. mmengine alone would import any name with a dot
    (``type='os.system'``) and call it.

    Args:
        config: ``type`` and arguments.

    Raises:
        ValueError: if a type is not registered, ``_scope_`` or ``init_cfg`` is set, or the arguments do not fit.
    """
    MODELS.import_from_location()
    if not isinstance(config, Mapping) or 'type' not in config:
        raise ValueError(f'the config of a model must be a dict with a type, got {config!r}')
    for place, node in _dicts(config, 'model'):
        kind = node.get('type')
        if 'type' in node and not (isinstance(kind, str) and kind.removeprefix('ssvideo.') in MODELS.module_dict):
            raise ValueError(f'{place}.type is {kind!r}, which is not registered in ssvideo.registry.MODELS: refused. If it '
                             'is a component of a plugin, import the plugin first')
        for key in ('_scope_', 'init_cfg'):
            if node.get(key) is not None:
                raise ValueError(f'{place}.{key} is {node[key]!r}: a model file holds its weights itself; refused')
    try:
        model = MODELS.build(json.loads(json.dumps(config)))  # a copy, which building may change
    except (TypeError, KeyError) as error:
        raise ValueError(f'the model cannot be built: {error}') from error
    if not isinstance(model, nn.Module):
        raise ValueError(f'{config["type"]!r} is no model with weights')
    return model


def refuse_other_weights(kind: str, expected: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    """Raise ``ValueError`` if weights are not exactly those of a model.

    Args:
        kind: what the model is called.
        expected: its state dict.
        weights: by name.
    """
    refuse_other_shapes(expected, weights)
    missing, unexpected = sorted(expected.keys() - weights), sorted(weights.keys() - expected)
    if missing or unexpected:
        raise ValueError(f'the weights are not those of the {kind} described: missing {missing[:5]} ({len(missing)}), '
                         f'unexpected {unexpected[:5]} ({len(unexpected)})')


def refuse_other_shapes(expected: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    """Raise ``ValueError`` if a weight has another shape than the model's of the same name."""
    wrong = [f'{name} {tuple(weights[name].shape)}, expected {tuple(value.shape)}' for name, value in expected.items()
             if name in weights and weights[name].shape != value.shape]
    if wrong:
        raise ValueError(f'{len(wrong)} weights have another shape than the model: {"; ".join(wrong[:5])}')


def _dicts(node, place: str) -> Iterator[tuple[str, Mapping]]:
    if isinstance(node, Mapping):
        yield place, node
        for key, value in node.items():
            yield from _dicts(value, f'{place}.{key}')
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from _dicts(value, f'{place}[{index}]')
