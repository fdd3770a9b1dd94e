"""A model that was exported, with all that turns a video into its answer."""
from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from ..datasets.video_list import build_transform
from ..models.classifier import ClipClassifier
from ..registry import TRANSFORMS
from ..structures import Clips
from ..utils.exported_folder import read_exported
from .load_pretrained import load_pretrained

OTHERS = frozenset(('CenterCrop', 'Flip', 'FormatShape', 'PackActionInputs', 'Resize', 'TenCrop', 'ThreeCrop'))
"""Transforms of mmaction2 that a folder may name, beside all of this package: what a fixed view of a video needs."""


@dataclass
class ExportedModel:
    """What :func:`open_exported` returns.

    Args:
        model: in eval mode, a ``ClipClassifier`` or a ``Pretrainer``.
        preprocessing: see :func:`~ssvideo.utils.preprocessing.preprocessing_of`.
        labels: names of the classes, in order; None where they are not known.
    """
    model: nn.Module
    preprocessing: dict
    labels: list[str] | None

    def clips(self, video: str | Path) -> Clips:
        """The views of a video, on the device of the model, as its preprocessing says.

        Raises:
            BrokenFileError: if the file cannot be read.
            ValueError: if the model reads tokens and was exported without what makes them, or the preprocessing names a
                transform that is neither of this package nor one of :data:`OTHERS`.
        """
        return self._batch(video)['inputs']

    @torch.no_grad()
    def features(self, video: str | Path) -> Tensor:
        """One vector for each view of a video, ``(V, C)``: what a classifier classifies, a pre-trained backbone's summary.

        Raises:
            ValueError: see :meth:`clips`.
        """
        clips = self.clips(video)
        if isinstance(self.model, ClipClassifier):
            return self.model.extract_feat(clips)
        return self.model(dict(video=clips))['video'].summary

    @torch.no_grad()
    def predict(self, video: str | Path) -> dict[str, float]:
        """Score each class of a video, averaged over its views as in testing.

        Returns:
            By the name of the class, or its number where names are not known, the highest first.

        Raises:
            ValueError: if the model is no classifier; see also :meth:`clips`.
        """
        if not isinstance(self.model, ClipClassifier):
            raise ValueError(f'a {type(self.model).__name__} does not classify: fine-tune it first, or take its features')
        [sample] = self.model(**self._batch(video), mode='predict')
        names = self.labels or [str(number) for number in range(len(sample.pred_score))]
        return dict(sorted(zip(names, sample.pred_score.tolist()), key=lambda item: -item[1]))

    def _batch(self, video: str | Path) -> dict:
        pipeline = self.preprocessing['pipeline']
        if pipeline is None:
            raise ValueError('this model reads tokens, and was exported without what makes them of a video: export it again '
                             'with "--tokens CONFIG", the config that the token store was extracted with')
        results = dict(filename=str(video), sample_idx=0, modality='RGB', start_index=0, time_limit=None, backend_args=None)
        with DefaultScope.overwrite_default_scope('mmaction'):
            for config in pipeline:
                results = _build(config)(results)
        return self.model.data_preprocessor(dict(inputs=[results['inputs']], data_samples=[results['data_samples']]))


def open_exported(folder: str | Path) -> ExportedModel:
    """Open a folder that ``tools/export.py`` wrote; the model is loaded strictly.

    Args:
        folder: may lie anywhere; nothing else is read, and nothing in it is executed.

    Raises:
        FileNotFoundError: if there is no such folder, or a file is missing from it.
        ValueError: if it is no exported model, or not whole.

    Example:
        >>> exported = open_exported('my_model')
        >>> scores = exported.predict('video.mp4')  # {class: probability}, the best first
    """
    described = read_exported(folder)
    model = load_pretrained(folder, report_to=logging.getLogger(__name__).debug)
    return ExportedModel(model, described.preprocessing, described.labels)


def _build(config: dict):
    kind = str(config.get('type'))
    TRANSFORMS.import_from_location()
    if kind.removeprefix('ssvideo.') not in TRANSFORMS.module_dict and kind.removeprefix('mmaction.') not in OTHERS:
        raise ValueError(f'the preprocessing names the transform {kind!r}, which is neither of this package nor one of '
                         f'{sorted(OTHERS)}: refused')
    return build_transform({word: tuple(value) if isinstance(value, list) else value for word, value in config.items()})
