"""Read the weights out of DALL-E's published files, which are whole pickled modules, without running what they name."""
from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor


def read_dalle_module(path: str | Path) -> dict[str, Tensor]:
    """Read a module saved with ``torch.save(module)`` as a state dict.

    Neither the package ``dall_e`` nor the classes of torch are used: every class the pickle names becomes an empty
    shell, and a name that is not on the list of what the published files need is refused.

    Args:
        path: ``encoder.pkl`` or ``decoder.pkl``.

    Returns:
        The weights by OpenAI's names.

    Raises:
        ValueError: if the pickle names anything else, or the file is cut short or not of torch's zip format.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            module = _Unpickler(archive, path).load()
    except (zipfile.BadZipFile, pickle.UnpicklingError, EOFError, KeyError, IndexError, TypeError, AttributeError,
            UnicodeDecodeError, RuntimeError) as error:
        raise ValueError(f'{path} is not a whole file written by torch.save (1.6 or later): {error!r}. '
                         'Fetch it again') from error
    if not isinstance(module, _Shell):
        raise ValueError(f'{path} holds a {type(module).__name__}, expected a pickled module; a plain state dict is '
                         'read when its name ends in .pth, .pt or .safetensors')
    _check_gains(path, module)
    return dict(_parameters(module))


class _Shell:
    """Stands for an object of any allowed module class; only its attributes are kept."""


class _Unpickler(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, path: str | Path) -> None:
        records = [name for name in archive.namelist() if name.count('/') == 1 and name.endswith('/data.pkl')]
        if len(records) != 1:
            raise ValueError(f'{path} is not a file written by torch.save: it has {len(records)} data.pkl, not one')
        [record] = records
        super().__init__(io.BytesIO(archive.read(record)))
        self.archive, self.path, self.folder = archive, path, record.removesuffix('data.pkl')
        order = f'{self.folder}byteorder'
        if order in archive.namelist() and archive.read(order) != b'little':
            raise ValueError(f'{path} was written on a big-endian machine, which is not supported')

    def find_class(self, module: str, name: str):
        """Resolve a name of the pickle, from the list and nowhere else."""
        if f'{module}.{name}' not in _ALLOWED:
            raise ValueError(f'{self.path} names {module}.{name}, which no DALL-E encoder or decoder needs: refused, '
                             'nothing was executed. Do not trust this file')
        return _ALLOWED[f'{module}.{name}']

    def persistent_load(self, pid: tuple) -> Tensor:
        """The storage that a pickle refers to, as a flat tensor."""
        kind, dtype, key, _, num_elements = pid
        if kind != 'storage' or not isinstance(dtype, torch.dtype) or not str(key).isalnum():
            raise pickle.UnpicklingError(f'unknown reference {pid!r}')
        data = torch.frombuffer(bytearray(self.archive.read(f'{self.folder}data/{key}')), dtype=dtype)
        if len(data) < num_elements:
            raise pickle.UnpicklingError(f'storage {key} has {len(data)} elements, expected {num_elements}')
        return data


def _tensor(storage: Tensor, offset: int, size: tuple, stride: tuple, *_unused) -> Tensor:
    return torch.as_strided(storage, size, stride, offset)  # checks the bounds


def _parameter(data: Tensor, *_unused) -> Tensor:
    return data


def _device(*names) -> str:
    return ':'.join(map(str, names))


_MODULES = [
    'dall_e.encoder.Encoder', 'dall_e.encoder.EncoderBlock', 'dall_e.decoder.Decoder', 'dall_e.decoder.DecoderBlock',
    'dall_e.utils.Conv2d', 'torch.nn.modules.activation.ReLU', 'torch.nn.modules.container.Sequential',
    'torch.nn.modules.linear.Identity', 'torch.nn.modules.pooling.MaxPool2d', 'torch.nn.modules.upsampling.Upsample',
]
_ALLOWED = {name: type(name.rpartition('.')[2], (_Shell,), {}) for name in _MODULES} | {
    'collections.OrderedDict': OrderedDict,
    '__builtin__.set': set,
    'builtins.set': set,
    'torch.device': _device,
    'torch.FloatStorage': torch.float32,
    'torch.HalfStorage': torch.float16,
    'torch.float32': torch.float32,
    'torch.float16': torch.float16,
    'torch._utils._rebuild_parameter': _parameter,
    'torch._utils._rebuild_tensor_v2': _tensor,
}


def _modules(module: _Shell, prefix: str = '', depth: int = 0) -> Iterator[tuple[str, _Shell]]:
    if depth > 8:  # the published modules are 6 deep
        raise ValueError(f'the modules of this file are nested too deeply, at {prefix}')
    yield prefix, module
    for name, child in vars(module).get('_modules', {}).items():
        if isinstance(child, _Shell):
            yield from _modules(child, f'{prefix}{name}.', depth + 1)


def _parameters(module: _Shell) -> Iterator[tuple[str, Tensor]]:
    for prefix, owner in _modules(module):
        for name, value in vars(owner).get('_parameters', {}).items():
            if isinstance(value, Tensor):
                yield prefix + name, value


def _check_gains(path: str | Path, module: _Shell) -> None:
    """The residual's factor is no weight: check that it is the one we compute, 1 / (number of blocks)^2."""
    gains = [vars(m)['post_gain'] for _, m in _modules(module) if 'post_gain' in vars(m)]
    wrong = [gain for gain in gains if abs(gain * len(gains) ** 2 - 1) > 1e-6]
    if wrong:
        raise ValueError(f'{path}: its {len(gains)} blocks scale their residual by {wrong[0]}, expected '
                         f'1/{len(gains)}^2; such a model cannot be converted')
