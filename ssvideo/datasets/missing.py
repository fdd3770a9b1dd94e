"""A video that is tested but cannot be read: it stays in its place, and its prediction is missing."""
from __future__ import annotations

from collections.abc import Mapping

import torch
from mmaction.structures import ActionDataSample
from torch import Tensor

from ..structures import PAD


def missing_sample(path: str, reason: str, label: int | None) -> ActionDataSample:
    """The sample of a video that could not be read.

    It has no ``gt_label``, so that a metric that knows nothing of missing predictions fails instead of scoring what is
    none; ``VideoAccuracy`` finds the label under ``missing_label``.

    Args:
        path: of the video.
        reason: why it could not be read.
        label: its class, where known.

    Returns:
        A sample with ``filename``, ``missing`` (the reason) and ``missing_label``; a dump of predictions keeps them.
    """
    return ActionDataSample(metainfo=dict(filename=path, missing=reason, missing_label=label))


def shapes_of(item: object) -> dict[str, Tensor]:
    """The shapes and types of what a pipeline packed.

    Args:
        item: as mmaction2's ``PackActionInputs`` or ``StoredTokens`` makes it.

    Returns:
        ``inputs``, and ``tokens`` where there are any, as tensors without memory (on ``meta``).

    Raises:
        ValueError: if there are no ``inputs``.
    """
    if not isinstance(item, Mapping) or not isinstance(item.get('inputs'), Tensor):
        got = sorted(item) if isinstance(item, Mapping) else type(item).__name__
        raise ValueError(f"on_broken='missing' needs a pipeline that gives a tensor 'inputs', got {got}: end it with "
                         'FormatShape and PackActionInputs')
    return {key: item[key].to('meta') for key in ('inputs', 'tokens') if key in item}


def blank(shapes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Black frames and PAD tokens of given shapes."""
    return {key: torch.full_like(like, PAD if key == 'tokens' else 0, device='cpu') for key, like in shapes.items()}
