"""Teacher and student."""
from __future__ import annotations

import copy
import random
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from mmengine.dist import get_rank
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from torch import Tensor, nn

from ssvideo.models.layers.resize_mask import resize_mask
from ssvideo.models.objectives.masked_prediction import gather_positions
from ssvideo.registry import MODELS
from ssvideo.structures import Clips


@MODELS.register_module()
class MyPlugin(BaseModel):
    """The student sees a clip with hidden positions and predicts the features that the teacher has of the whole clip.

    The teacher is the running average of the student. What is predicted is its last map where the student sees nothing,
    normalised, and its summary.

    Args:
        backbone: config of a backbone that reads pixels; of the student, which is fine-tuned later.
        maskers: config of a masker for each stream.
        momentum: share of the teacher that stays in a step.
        data_preprocessor: config; it must normalise.
        init_cfg: mmengine's.

    Raises:
        ValueError: if the backbone reads no pixels.

    Source: data2vec, arXiv:2202.03555, Sec. 3.
    """

    def __init__(self, backbone: dict, maskers: dict[str, dict], momentum: float = 0.99, data_preprocessor: dict | None = None,
                 init_cfg: dict | None = None) -> None:
        super().__init__(MODELS.build(data_preprocessor or dict(type='ClipPreprocessor')), init_cfg)
        self.backbone = MODELS.build(backbone)
        if self.backbone.reads != 'pixels':
            name = type(self.backbone).__name__
            raise ValueError(f'MyPlugin: the backbone must read pixels, but {name} reads {self.backbone.reads}')
        self.maskers = {stream: MODELS.build(masker) for stream, masker in maskers.items()}
        self.teacher = copy.deepcopy(self.backbone).requires_grad_(False).eval()
        dims = self.backbone.channels[-1]
        self.predictor = nn.Sequential(nn.Linear(dims, 2 * dims), nn.GELU(), nn.Linear(2 * dims, dims))
        self.momentum = momentum

    def forward(self, inputs: Mapping[str, Clips], data_samples: list | None = None, mode: str = 'tensor'):
        """mmengine's entry.

        Args:
            inputs: clips by stream.
            data_samples: not used.
            mode: ``'loss'``; or ``'tensor'`` for the student's features of whole clips.

        Raises:
            ValueError: for another mode.
        """
        if mode == 'tensor':
            return {stream: self.backbone(clips.pixels) for stream, clips in inputs.items()}
        if mode != 'loss':
            raise ValueError(f"MyPlugin.forward: mode must be 'loss' or 'tensor', got {mode!r}")
        if self.training:
            self.follow_student()
        terms = {stream: self.terms(stream, clips) for stream, clips in inputs.items()}
        return {f'{stream}_{name}': value for stream, found in terms.items() for name, value in found.items()}

    def terms(self, stream: str, clips: Clips) -> dict[str, Tensor]:
        """Losses and a metric of one stream."""
        mask = self.draw_mask(stream, clips)
        with torch.no_grad():
            taught = self.teacher(clips.pixels)
        seen = self.backbone(clips.pixels, mask.to(clips.pixels.device))
        cells = resize_mask(mask, tuple(taught.maps[-1].shape[1:4])) != 0
        positions = cells.flatten().nonzero().squeeze(1).to(clips.pixels.device)
        target = gather_positions(F.layer_norm(taught.maps[-1], taught.maps[-1].shape[-1:]), positions)
        error = F.smooth_l1_loss(self.predictor(gather_positions(seen.maps[-1], positions)), target, reduction='sum')
        similarity = F.cosine_similarity(self.predictor(seen.summary), taught.summary).mean()
        return dict(loss_cells=error / max(target.numel(), 1), loss_summary=1 - similarity, similarity=similarity.detach())

    def draw_mask(self, stream: str, clips: Clips) -> Tensor:
        """``(N, t, h, w)`` on the host, a function of (seed, rank, iteration, stream)."""
        number, _, frames, height, width = clips.pixels.shape
        along, down, across = self.backbone.token_stride
        grid = max(frames // along, 1), height // down, width // across
        hub = MessageHub.get_current_instance()
        step = f"{hub.get_info('seed', 0)}/{get_rank()}/{hub.get_info('iter', 0)}/{stream}"
        return self.maskers[stream](grid, number, random.Random(step), clips.pad)

    @torch.no_grad()
    def follow_student(self) -> None:
        """Move the teacher a little."""
        for ours, new in zip(self.teacher.parameters(), self.backbone.parameters()):
            ours.lerp_(new, 1 - self.momentum)

    def train(self, mode: bool = True) -> MyPlugin:
        """As torch's, but the teacher stays in eval mode."""
        super().train(mode)
        self.teacher.eval()
        return self
