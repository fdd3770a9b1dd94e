"""Batches of noise, as a recipe's loaders would give them."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from mmaction.structures import ActionDataSample
from torch import Tensor, nn

from ..models.classifier import ClipClassifier
from ..models.pretrainer import Pretrainer
from ..structures import Clips
from ..utils.clip_shape import shape_of


def random_batch(model: nn.Module, loaders: Mapping, batch_size: int | None = None, shape: Sequence[int] | None = None) -> dict:
    """A batch for a model, of the recipe's sizes.

    Args:
        model: a ``Pretrainer``, a ``ClipClassifier`` or a trainer of a tokenizer.
        loaders: the recipe's ``train_dataloader``: a loader, or loaders by stream.
        batch_size: videos, of the first stream; the other streams keep their proportion. None: the recipe's.
        shape: of a clip of pixels, in place of the recipe's; see :func:`~ssvideo.utils.clip_shape.shape_of`.

    Returns:
        What the model's ``data_preprocessor`` is given.

    Raises:
        ValueError: if the recipe does not tell the sizes.
    """
    generator = torch.Generator().manual_seed(0)
    if 'dataset' in loaders and not isinstance(model, Pretrainer):
        batch = _stream(model, loaders['dataset'], batch_size or loaders['batch_size'], shape, generator)
        samples = [ActionDataSample().set_gt_label(i % _num_classes(model)) for i in range(num_videos(batch))]
        return batch | dict(data_samples=samples)
    if 'dataset' in loaders:
        loaders = {next(iter(model.maskers)): loaders}
    first = next(iter(loaders.values()))['batch_size']
    sizes = {stream: max(1, loader['batch_size'] * (batch_size or first) // first) for stream, loader in loaders.items()}
    return {stream: _stream(model, loader['dataset'], sizes[stream], shape, generator) for stream, loader in loaders.items()}


def num_videos(batch: Mapping) -> int:
    """Videos in a batch, of its first stream."""
    one = batch if 'inputs' in batch or 'tokens' in batch else next(iter(batch.values()))
    return len(one.get('inputs') or one['tokens'])


def describe_batch(batch: Mapping) -> str:
    """Such as ``'4 x 2 x 5 x 16 x 16 tokens'``: videos, clips of each, and the shape of a clip."""
    streams = {'': batch} if 'inputs' in batch or 'tokens' in batch else batch
    words = []
    for stream, part in streams.items():
        kind = 'inputs' if part.get('inputs') else 'tokens'
        shape = part[kind][0].shape
        sizes = (len(part[kind]), *((shape[0], *shape[2:]) if kind == 'inputs' else shape))
        words.append(' '.join(filter(None, [' x '.join(map(str, sizes)), 'tokens' if kind == 'tokens' else '', stream])))
    return ', '.join(words)


def _stream(model: nn.Module, dataset: Mapping, number: int, shape: Sequence[int] | None, generator: torch.Generator) -> dict:
    backbone = getattr(model, 'backbone', None)
    if 'pipeline' not in dataset:  # a token store
        views = dataset.get('num_clips', 1)
        return dict(tokens=_tokens((number, views, *backbone.grid), backbone.vocab_size, generator))
    views = next((transform.get('num_clips', 1) for transform in dataset['pipeline'] if 'clip_len' in transform), 1)
    size = shape_of(dataset, shape)
    frames = torch.randint(256, (number, views, 3, *size), dtype=torch.uint8, generator=generator)
    batch = dict(inputs=list(frames))
    if isinstance(model, Pretrainer) and not model.tokenizers:  # targets come from a store
        grid = model.token_grid(Clips(frames=torch.empty(1, 3, *size, device='meta')))
        batch['tokens'] = _tokens((number, views, *grid), model.vocab_size_of(model.default_target), generator)
    return batch


def _tokens(shape: Sequence[int], vocab_size: int, generator: torch.Generator) -> list[Tensor]:
    return list(torch.randint(vocab_size, tuple(shape), generator=generator))


def _num_classes(model: nn.Module) -> int:
    return model.fc.out_features if isinstance(model, ClipClassifier) else 1
