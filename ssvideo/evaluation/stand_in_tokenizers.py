"""Tokenizers with random weights, where only their cost is measured and their file is not at hand."""
from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path

import torch

from ..models.layers.dalle_blocks import DalleEncoder
from ..models.tokenizers import PecoVQVAE
from ..models.tokenizers.dalle_checkpoint import save_dalle


def stand_in_tokenizers(model: MutableMapping, folder: str | Path) -> list[str]:
    """Give the tokenizers of a model whose files are missing random weights of the published size, seeded.

    Args:
        model: config of a model; its ``tokenizer``, or tokenizers by name, are changed.
        folder: where the files are written, 0.2 GB for DALL-E's.

    Returns:
        The missing files.

    Raises:
        ValueError: for a tokenizer other than ``DalleTokenizer`` and ``PecoTokenizer`` whose file is missing.
    """
    named = model.get('tokenizer') or {}
    missing = []
    for config in [named] if 'type' in named else named.values():
        if 'checkpoint' in config and not Path(config['checkpoint']).exists():
            missing.append(config['checkpoint'])
            path = Path(folder) / f'stand_in_{len(missing)}.safetensors'
            _write_random(config['type'].rsplit('.', 1)[-1], path, config['checkpoint'])
            config['checkpoint'] = str(path)
    return missing


def _write_random(kind: str, path: Path, missing: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if kind == 'DalleTokenizer':
            save_dalle(path, DalleEncoder(hidden_dims=256, num_blocks=2, vocab_size=8192))
        elif kind == 'PecoTokenizer':
            PecoVQVAE(perceptual=None, codebook_init='random').save_tokenizer(path)
        else:
            raise ValueError(f'{kind}: {missing} does not exist, and there is no published size to stand in for it')
