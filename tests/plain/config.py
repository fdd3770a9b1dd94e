"""The config of a model, with plain parts."""
from __future__ import annotations

from collections.abc import Mapping

from .host import PlainBlockMasker, PlainClipPreprocessor, PlainDalleTokenizer, PlainPretrainer, PlainTubeMasker
from .objectives import PlainInfoNCE, PlainMLM, PlainMVM
from .swin import PlainVideoSwin
from .transformer import PlainDividedTransformer

PLAIN = {part.__name__.removeprefix('Plain'): part for part in (
    PlainBlockMasker, PlainClipPreprocessor, PlainDalleTokenizer, PlainDividedTransformer, PlainInfoNCE, PlainMLM, PlainMVM,
    PlainPretrainer, PlainTubeMasker, PlainVideoSwin)}
OWN_FORWARD_IS_PLAIN = ('SwinDecoder',)
"""Parts whose weights a plain part reads without calling them."""


def plain_config(model: Mapping) -> dict:
    """Replace the parts of a ``Pretrainer`` by plain ones.

    Args:
        model: its config; stays as it is.

    Returns:
        A config of the same parameters.

    Raises:
        ValueError: for a part that has no plain counterpart.
    """
    config = dict(model)
    for key, value in config.items():
        if isinstance(value, Mapping):
            config[key] = plain_config(value)
    if 'type' in config:
        name = config['type'].rsplit('.', 1)[-1]
        if name not in PLAIN and name not in OWN_FORWARD_IS_PLAIN:
            raise ValueError(f'{config["type"]} has no plain counterpart: there are {sorted(PLAIN)}')
        config['type'] = PLAIN.get(name, config['type'])
    return config
