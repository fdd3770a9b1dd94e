"""Let mmengine read safetensors: importing this module is enough.

mmengine gives every local file to ``torch.load``. With this, ``load_from=FILE`` and ``init_cfg=dict(type='Pretrained',
checkpoint=FILE, prefix='backbone.')`` take a ``.safetensors`` file as well.
"""
from __future__ import annotations

from pathlib import Path

from mmengine.runner import CheckpointLoader

from .safetensors_file import read_safetensors


@CheckpointLoader.register_scheme(prefixes=r'(?!.*://).*\.safetensors$')  # a local path, no URL
def load_from_safetensors(filename: str, map_location=None) -> dict:
    """Read a checkpoint for mmengine.

    Args:
        filename: a local file; ``~`` is the home folder.
        map_location: not used; loading copies each tensor to the device of the parameter.

    Returns:
        ``state_dict`` and nothing of the metadata: on resume mmengine executes what it finds under ``meta.config``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no whole safetensors file.
    """
    _, tensors = read_safetensors(Path(filename).expanduser())
    return dict(state_dict=tensors)
