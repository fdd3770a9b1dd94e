"""Fine-tuning and testing: a backbone and a linear layer."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from mmaction.structures import ActionDataSample
from mmengine.model import BaseModel
from torch import Tensor, nn

from ..registry import MODELS
from ..structures import Clips

DIMS_OF_INPUTS = dict(pixels=5, tokens=4)


@MODELS.register_module()
class ClipClassifier(BaseModel):
    """Classifies videos from one or several clips of each; speaks mmaction2's ``ActionDataSample``.

    Args:
        backbone: config of a :class:`~ssvideo.models.backbones.Backbone`.
        num_classes: number of labels.
        tokenizer: config, for a backbone that reads tokens from batches that bring only frames.
        pool: what is classified: ``'summary'`` ([CLS], or the mean of the normalised last map), or ``'map'``, the mean
            of the raw last map.
        dropout: probability of dropping a feature before the linear layer.
        zero_init: start from a zero layer (VIMPAC), else from N(0, 0.01) (mmaction2).
        label_smoothing: of the cross entropy.
        average_clips: average the views' ``'prob'`` or their ``'score'`` (logits), as in mmaction2.
        data_preprocessor: config; a ``ClipPreprocessor`` that does not normalise by default.
        init_cfg: mmengine's.

    Raises:
        ValueError: for an unknown ``pool`` or ``average_clips``.
    """

    def __init__(self, backbone: dict, num_classes: int, tokenizer: dict | None = None,
                 pool: Literal['summary', 'map'] = 'summary', dropout: float = 0.5, zero_init: bool = False,
                 label_smoothing: float = 0.0, average_clips: Literal['prob', 'score'] = 'prob',
                 data_preprocessor: dict | None = None, init_cfg: dict | None = None) -> None:
        super().__init__(MODELS.build(data_preprocessor or dict(type='ClipPreprocessor')), init_cfg)
        for word, got, allowed in (('pool', pool, ('summary', 'map')), ('average_clips', average_clips, ('prob', 'score'))):
            if got not in allowed:
                raise ValueError(f'ClipClassifier: {word} must be one of {allowed}, got {got!r}')
        self.backbone = MODELS.build(backbone)
        self.tokenizer = None if tokenizer is None else MODELS.build(tokenizer).requires_grad_(False).eval()
        self.pool, self.average_clips, self.label_smoothing = pool, average_clips, label_smoothing
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(self.backbone.channels[-1], num_classes)
        nn.init.zeros_(self.fc.weight) if zero_init else nn.init.normal_(self.fc.weight, std=0.01)
        nn.init.zeros_(self.fc.bias)
        self._freeze_unused()

    def forward(self, inputs: Clips | Tensor, data_samples: list[ActionDataSample] | None = None, mode: str = 'tensor'):
        """mmengine's entry.

        Args:
            inputs: N = V * B clips, view-major; or a tensor, see :meth:`extract_feat`.
            data_samples: B samples; needed for ``'loss'`` and ``'predict'``.
            mode: ``'loss'``, ``'predict'`` (the samples with ``pred_score`` and ``pred_label``; NaN and -1 for a
                ``missing_sample``), or ``'tensor'`` (logits, ``(N, num_classes)``).

        Raises:
            ValueError: for another mode.
        """
        logits = self.fc(self.dropout(self.extract_feat(inputs)))
        if mode == 'tensor':
            return logits
        if mode == 'loss':
            return self._loss(logits, data_samples)
        if mode == 'predict':
            return self._predict(logits, data_samples)
        raise ValueError(f"ClipClassifier.forward: mode must be 'loss', 'predict' or 'tensor', got {mode!r}")

    def extract_feat(self, inputs: Clips | Tensor) -> Tensor:
        """One vector per clip.

        Args:
            inputs: clips; or what the backbone reads as a tensor, with or without a leading batch dimension of
                videos (``(B, V, 3, T, H, W)`` as mmaction2's ``get_flops.py`` makes it).

        Returns:
            ``(N, C)``.
        """
        if isinstance(inputs, Clips):
            inputs = self._backbone_inputs(inputs)
        elif inputs.dim() > DIMS_OF_INPUTS[self.backbone.reads]:
            inputs = inputs.flatten(0, 1)  # (B, V, ...) -> (N, ...)
        features = self.backbone(inputs)
        return features.summary if self.pool == 'summary' else features.maps[-1].flatten(1, 3).mean(1)

    def train(self, mode: bool = True) -> ClipClassifier:
        """As torch's, but the tokenizer stays in eval mode."""
        super().train(mode)
        if self.tokenizer is not None:
            self.tokenizer.eval()
        return self

    def _backbone_inputs(self, clips: Clips) -> Tensor:
        if self.backbone.reads == 'pixels':
            if clips.pixels is None:
                raise ValueError(f'{type(self.backbone).__name__} reads pixels and the batch has none: give '
                                 'ClipPreprocessor mean and std, and a pipeline that ends with PackActionInputs')
            return clips.pixels
        if clips.tokens is not None:
            return clips.tokens
        if self.tokenizer is None:
            raise ValueError(f'{type(self.backbone).__name__} reads tokens: give ClipClassifier a tokenizer, or read '
                             'clips from a token store')
        with torch.inference_mode():
            tokens = self.tokenizer(clips.frames / 255)
        return tokens.clone()  # an inference tensor cannot be saved for a backward

    def _loss(self, logits: Tensor, data_samples: Sequence[ActionDataSample]) -> dict[str, Tensor]:
        labels = torch.stack([sample.gt_label.squeeze() for sample in data_samples]).to(logits.device, non_blocking=True)
        labels = labels.repeat(len(logits) // len(labels))  # view-major
        top1 = (logits.detach().argmax(1) == labels).float().mean()
        return dict(loss_cls=F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing), top1=top1)

    def _predict(self, logits: Tensor, data_samples: list[ActionDataSample]) -> list[ActionDataSample]:
        views = logits.float().unflatten(0, (-1, len(data_samples)))  # (V, B, num_classes)
        scores = (views.softmax(-1) if self.average_clips == 'prob' else views).mean(0)
        for sample, score in zip(data_samples, scores):
            label = score.argmax(dim=0, keepdim=True)
            if 'missing' in sample:  # what was classified is a stand-in for a video that cannot be read
                score, label = torch.full_like(score, torch.nan), torch.full_like(label, -1)
            sample.set_pred_score(score).set_pred_label(label)
        return data_samples

    def _freeze_unused(self) -> None:
        """A parameter that only pre-training uses would never get a gradient, and DDP would wait for it."""
        for name, parameter in self.backbone.named_parameters():
            if name.startswith(self.backbone.pretraining_only):
                parameter.requires_grad_(False)
