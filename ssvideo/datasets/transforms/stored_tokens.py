"""Targets from a token store, beside the frames that they are the tokens of."""
from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from mmaction.datasets.transforms import PackActionInputs
from mmcv.transforms import BaseTransform
from torch import Tensor

from ...registry import TRANSFORMS
from ..broken import BrokenFileError
from ..token_store import TokenStore
from .fixed_view import CROPS
from .sample import SampleWholeVideo, opened


@TRANSFORMS.register_module()
class StoredTokens(BaseTransform):
    """End a pipeline as mmaction2's ``PackActionInputs`` does, with the stored tokens of exactly the frames it chose.

    The frames must be shown in the one view that was tokenized: resized and cropped alike, and nothing random.
    A store of every frame (``SampleWholeVideo(frame_interval=1)``) serves clips of any rate and start; in another, the
    chosen frames must be among the stored ones.

    Args:
        store: folder of the store.
        data_root: what precedes, in ``filename``, the names of the store: ``data_root`` of a list, or the folder that
            is the source.
        expect: what the store's manifest must say, such as ``dict(tokenizer='5d3c...', grid=(14, 14))``.

    Needs ``imgs`` (``FormatShape`` makes them), ``filename``, ``original_shape``, ``frame_inds``, ``frame_times``,
    ``total_frames``, ``clip_len`` and ``num_clips``; gives what ``PackActionInputs`` does, and ``tokens``,
    ``(V, t, h, w)`` int64.

    Raises:
        ValueError: if the store is not finished or not as expected, the view is not the stored one, or a frame is not
            stored.
        BrokenFileError: if the store lacks the video or holds another number of its frames.
    """

    def __init__(self, store: str | Path, data_root: str | Path = '', expect: dict | None = None):
        self.store = TokenStore(store)
        self.store.check(expect or {})
        if self.store.manifest.get('crop') not in (None, *CROPS):
            raise ValueError(f'StoredTokens: {store} was cropped by {self.store.manifest["crop"]}, which is none of '
                             f'{list(CROPS)}: extract it again with CenterCrop or FixedView')
        self.data_root = str(data_root)
        self.pack = PackActionInputs()

    def transform(self, results: dict) -> dict:
        check_view(results, self.store.manifest)
        name = os.path.relpath(results['filename'], self.data_root) if self.data_root else results['filename']
        tokens = self.store.read(name, self._stored_numbers(results, name))
        packed = self.pack(results)
        packed['tokens'] = tokens.unflatten(0, (results['num_clips'], results['clip_len']))
        _check_shapes(packed['inputs'], packed['tokens'])
        return packed

    def _stored_numbers(self, results: Mapping, name: str) -> np.ndarray:
        """Where in the store the chosen frames are."""
        shown, indices = self._shown(results, name), np.asarray(results['frame_inds'])
        numbers = np.minimum(np.searchsorted(shown, indices), len(shown) - 1)
        missing = indices[shown[numbers] != indices]
        if len(missing):
            raise ValueError(self._not_stored(results, missing))
        return numbers

    def _shown(self, results: Mapping, name: str) -> np.ndarray:
        """Which frame of the file each stored frame is, by the rule of ``SampleWholeVideo``."""
        path, total = results['filename'], results['total_frames']
        try:
            num_stored = self.store.num_frames(name)
        except KeyError:
            raise BrokenFileError(path, f'the token store {self.store.path} has no video {name!r}: see the list of what '
                                  'failed beside it, or set data_root to what precedes its names') from None
        interval, fps = self.store.manifest.get('frame_interval'), self.store.manifest.get('fps')
        if interval or total == 1:
            shown = np.arange(0, total, interval or 1)
        else:
            video = opened({key: results[key] for key in ('filename', 'time_limit', 'backend_args') if key in results})
            video.close()  # frame times stay
            shown = SampleWholeVideo(fps=fps)(dict(video=video))['frame_inds']
        if len(shown) != num_stored:
            raise BrokenFileError(path, f'the token store {self.store.path} has {num_stored} frames of it, the file now '
                                  f'gives {len(shown)}: tokenize it again')
        return shown

    def _not_stored(self, results: Mapping, missing: np.ndarray) -> str:
        manifest = self.store.manifest
        rate = f'one of every {manifest["frame_interval"]} frames' if manifest.get('frame_interval') else \
            f'{manifest["fps"]} frames a second'
        return (f'frame {missing[0]} of {results["filename"]} was chosen, but {self.store.path} holds {rate}, and not that '
                f'one ({len(missing)} of {len(results["frame_inds"])} chosen frames are missing). {_what_would_do(results)}')


def check_view(results: Mapping, manifest: Mapping) -> None:
    """Refuse frames that are not shown as those of a store were.

    Args:
        results: of the pipeline, with what mmaction2's transforms and ``FixedView`` leave behind.
        manifest: of the store; what it does not say (``short_side``, ``crop_size``) is not checked.

    Raises:
        ValueError: that says what was done to the frames, and what should be.
    """
    height, width = results['img_shape']
    size, flip = manifest['size'], bool(manifest.get('flip'))
    if bool(results.get('flip')) != flip:
        raise ValueError(f'StoredTokens: the frames have flip={not flip}, the stored ones flip={flip}: '
                         + ('mirror all of them' if flip else 'take Flip out of the pipeline'))
    if 'short_edge' in results:  # what RandomRescale leaves behind
        raise ValueError("StoredTokens: RandomRescale draws a size, the stored view has one: use dict(type='Resize', ...)")
    if height * size[1] != width * size[0]:
        raise ValueError(f'StoredTokens: the frames are {height} x {width}, the stored ones were {size[0]} x {size[1]}, '
                         'another shape: crop them alike')
    _check_crop(results, manifest)


def _check_crop(results: Mapping, manifest: Mapping) -> None:
    height, width = results['img_shape']
    x, y, w, h = (float(part) for part in results.get('crop_quadruple', (0, 0, 1, 1)))
    crop, short_side = manifest.get('crop', 'center'), manifest.get('short_side')
    place = CROPS['center' if crop is None else crop]
    # within a pixel: crops start at whole ones
    right = abs(x - place * (1 - w)) <= w / width and abs(y - place * (1 - h)) <= h / height
    right = right and (crop is not None or w == h == 1)
    if short_side and crop is not None:
        share, axis = (h, 0) if results['original_shape'][0] <= results['original_shape'][1] else (w, 1)
        # where the manifest does not say how large the crop was: as large as the stored frames, or as those of training
        sizes = [manifest['crop_size'][axis]] if manifest.get('crop_size') else [manifest['size'][axis], (height, width)[axis]]
        right = right and any(abs(share * short_side - side) <= 1 for side in sizes)
    if not right:
        raise ValueError(f'StoredTokens: the frames show (x, y, w, h) = ({x:.3f}, {y:.3f}, {w:.3f}, {h:.3f}) of the picture, '
                         f'the stored ones crop={crop!r} of short_side={short_side}: use the pipeline that '
                         'tools/extract_tokens.py was given, with CenterCrop or FixedView')


def _check_shapes(inputs: Tensor, tokens: Tensor) -> None:
    if inputs.ndim != 5 or (inputs.shape[0], inputs.shape[2]) != tuple(tokens.shape[:2]):
        raise ValueError(f'StoredTokens: {tokens.shape[0]} clips of {tokens.shape[1]} frames have tokens, but the pipeline '
                         f'made {tuple(inputs.shape)} of them, expected (V, 3, T, H, W): use one crop, and '
                         "FormatShape(input_format='NCTHW') before")


def _what_would_do(results: Mapping) -> str:
    indices, times = np.asarray(results['frame_inds']), results['frame_times']
    step, rate = max(int(np.gcd.reduce(indices)), 1), ''
    if np.ptp(indices):
        first, last = indices.argmin(), indices.argmax()
        rate = f' (here {(indices[last] - indices[first]) / (times[last] - times[first]) / step:.6g} frames a second)'
    return (f'A store with SampleWholeVideo(frame_interval={step}){rate} would have these, one with frame_interval=1 those '
            'of every draw')
