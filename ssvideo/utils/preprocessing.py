"""What is done to a video before a model sees it, as plain data."""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from .clip_shape import shape_of

LOADERS = ('test_dataloader', 'val_dataloader', 'train_dataloader')
"""Where a recipe tells its views, in this order."""
CROPS = dict(ThreeCrop=3, TenCrop=10)
"""Crops that a transform cuts out of each clip."""
PACK = [dict(type='FormatShape', input_format='NCTHW'), dict(type='PackActionInputs')]


def preprocessing_of(config: Mapping, tokens: Mapping | None = None) -> dict:
    """Describe the clips of a recipe.

    They are those of testing, else of validation. A pre-training has neither: then the frames are chosen as in training but
    without randomness, and the centre is cut out.

    Args:
        config: of a training, with a model that has a backbone; see :data:`LOADERS`.
        tokens: for clips from a token store, the config with which ``tools/extract_tokens.py`` filled it.

    Returns:
        In JSON's types: ``loader`` (where the recipe says it), ``clip_len`` (T), ``frame_interval`` or ``fps``, ``num_clips``
        and ``crops`` (views of a video are their product), ``size`` (H, W), ``mean`` and ``std`` (RGB, of 0..255; None: frames
        are not normalised), and ``pipeline``, the transforms that make ``(views, 3, T, H, W)`` uint8 of a file. Where the model
        reads clips of a token store and ``tokens`` is not given, ``size`` and ``pipeline`` are None.

    Raises:
        ValueError: if no loader tells.
    """
    loader, dataset = _dataset(config)
    normalise = config['model'].get('data_preprocessor') or {}
    sampler, pipeline = _token_pipeline(dataset, tokens) if 'pipeline' not in dataset else _video_pipeline(loader, dataset)
    found = dict(
        loader=loader, clip_len=sampler['clip_len'], frame_interval=sampler.get('frame_interval'), fps=sampler.get('fps'),
        strategy=sampler.get('strategy', 'random'), num_clips=sampler.get('num_clips', 1),
        crops=1 if pipeline is None else max(CROPS.get(_kind(transform), 1) for transform in pipeline),
        size=None if pipeline is None else shape_of(dict(pipeline=pipeline))[1:],
        mean=normalise.get('mean'), std=normalise.get('std'), pipeline=pipeline)
    return json.loads(json.dumps(found))


def _dataset(config: Mapping) -> tuple[str, Mapping]:
    for name in LOADERS:
        loader = config.get(name)
        if loader and 'dataset' in loader:
            return name, loader['dataset']
        if loader:  # by stream; videos before images, which have one frame
            stream = 'video' if 'video' in loader else next(iter(loader))
            return f'{name}.{stream}', loader[stream]['dataset']
    raise ValueError(f'the config has none of {LOADERS}: nothing tells what a clip is')


def _video_pipeline(loader: str, dataset: Mapping) -> tuple[Mapping, list[dict]]:
    """The transform that chooses frames, and the pipeline."""
    pipeline = [dict(transform) for transform in dataset['pipeline']]
    sampler = next((transform for transform in pipeline if 'clip_len' in transform), None)
    if sampler is None and _kind(pipeline[0]) != 'LoadImage':
        raise ValueError(f'{loader}: no transform of its pipeline has a clip_len: nothing tells how many frames a clip has')
    if not loader.startswith('train'):
        return sampler or dict(clip_len=1), pipeline
    if sampler is None:
        fixed, read = dict(clip_len=1), [pipeline[0]]
    else:
        fixed = {key: value for key, value in sampler.items() if key != 'max_distance'} | dict(num_clips=1, test_mode=True)
        read = [fixed, dict(type='ssvideo.DecodeClips')]
    return fixed, [*read, *_center(shape_of(dataset)[1:]), *PACK]


def _token_pipeline(dataset: Mapping, tokens: Mapping | None) -> tuple[Mapping, list[dict] | None]:
    """The same for clips of a token store: as it was extracted, but a clip of the model's length instead of the whole."""
    frames = dict(clip_len=dataset['clip_len'], num_clips=dataset.get('num_clips', 1) if dataset.get('test_mode') else 1)
    if tokens is None:
        return frames | dict(frame_interval=dataset.get('frame_interval')), None
    whole, *rest = [dict(transform) for transform in tokens['dataset']['pipeline']]
    spacing = dataset.get('frame_interval', 1)
    if whole.get('fps'):
        frames['fps'] = whole['fps'] / spacing
    else:
        frames['frame_interval'] = whole['frame_interval'] * spacing
    sampler = dict(type='ssvideo.SampleClips', test_mode=True, **frames)
    if tokens.get('views'):  # of which this is the plain one: the whole height or width, the centre
        rest.insert(1, dict(type='ssvideo.FixedView', size=tokens['views']['size']))  # behind the decoder
    return sampler, [sampler, *rest]


def _center(size: Sequence[int]) -> list[dict]:
    side = min(size)
    return [dict(type='Resize', scale=(-1, side)), dict(type='CenterCrop', crop_size=side)]


def _kind(transform: Mapping) -> str:
    return transform['type'].rsplit('.', 1)[-1]
