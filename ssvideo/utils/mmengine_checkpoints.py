"""Let mmengine read checkpoints as data only: importing this module is enough.

mmengine leaves it to torch's default whether a file may execute code, downloads with that allowed, and on resume runs
``meta['config']`` of a checkpoint as Python. With this, ``load_from``, ``resume`` and ``init_cfg`` do none of it.
"""
from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, checkpoint


def read_checkpoint(path: str | Path, mmap: bool = False) -> dict:
    """Read a checkpoint of this package, mmengine or mmaction2, on the CPU; nothing in it is executed.

    Args:
        path: a file of ``torch.save``.
        mmap: read tensors only when they are used.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is broken, or holds other things than tensors, built-ins and mmengine's logs.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'there is no checkpoint {path}')
    try:
        with torch.serialization.safe_globals(_logs_of_mmengine()):
            found = torch.load(path, map_location='cpu', weights_only=True, mmap=mmap)
    except Exception as error:  # torch raises errors of many types for broken files
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = next((line for line in lines if 'GLOBAL' in line), lines[0] if lines else repr(error)).split('. ')[0]
        raise ValueError(f'{path} cannot be read as plain tensors and built-ins: it is broken, or made to execute code. '
                         f'Nothing in it was executed. ({reason})') from error
    if not isinstance(found, dict):
        raise ValueError(f'{path} holds a {type(found).__name__}, expected a dict of weights')
    if not isinstance(found.get('meta', {}), dict):
        raise ValueError(f'{path} has a {type(found["meta"]).__name__} as its meta, expected a dict')
    found.get('meta', {}).pop('config', None)  # mmengine would run it as Python
    return found


def _logs_of_mmengine() -> list:
    """What mmengine pickles into checkpoints beside tensors and built-ins: data, and names of four of its methods."""
    return [HistoryBuffer, np.ndarray, np.dtype, (np._core.multiarray._reconstruct, 'numpy.core.multiarray._reconstruct'),
            (np._core.multiarray.scalar, 'numpy.core.multiarray.scalar'), np._core.multiarray._reconstruct,
            np._core.multiarray.scalar, np.dtypes.Float64DType, np.dtypes.Int64DType, (_statistic, 'builtins.getattr')]


def _statistic(owner, name: str):
    if owner is not HistoryBuffer or name not in ('min', 'max', 'current', 'mean'):
        raise ValueError(f'getattr({owner!r}, {name!r}) in a checkpoint')
    return getattr(owner, name)


@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_local(filename: str, map_location=None) -> dict:
    """Read a local file for mmengine.

    Args:
        filename: the file; ``~`` is the home folder.
        map_location: not used. Loading copies weights to their device; an optimiser's counters, on a GPU, would make the
            host wait for it at every step.
    """
    return read_checkpoint(filename)


checkpoint.load_url = functools.partial(checkpoint.load_url, weights_only=True)
