"""The shape of the clips that a recipe makes."""
from __future__ import annotations

from collections.abc import Mapping, Sequence


def shape_of(dataset: Mapping, shape: Sequence[int] | None = None) -> tuple[int, int, int]:
    """(T, H, W) of the clips that a data set makes.

    Args:
        dataset: config with a pipeline.
        shape: side, or H W, or T H W, of the command line; it stands above the pipeline, but for the one frame of images.

    Raises:
        ValueError: if neither tells.
    """
    pipeline = dataset.get('pipeline', [])
    size = next((_side(transform) for transform in reversed(pipeline) if _side(transform)), None)
    length = next((transform['clip_len'] for transform in pipeline if 'clip_len' in transform), None)
    if any(transform['type'].endswith('LoadImage') for transform in pipeline):
        length = 1
    if shape:
        size = shape[-2:] if len(shape) > 1 else list(shape) * 2
        length = shape[0] if len(shape) == 3 and length != 1 else length
    if size is None or length is None:
        raise ValueError('the recipe does not tell the length and the size of a clip: give --shape T H W')
    return length, *((size, size) if isinstance(size, int) else size)


def _side(transform: Mapping) -> int | Sequence[int] | None:
    if 'scale' in transform and not transform.get('keep_ratio', True):
        return transform['scale']
    return transform.get('crop_size', transform.get('size'))
