"""A student that predicts what its slowly moving teacher sees in the hidden part of a clip."""
from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from torch import Tensor, nn

from plugins.videomae.visible_tokens import to_device
from plugins.videomae.vit_blocks import initialise
from ssvideo.models import Pretrainer
from ssvideo.models.backbones import Backbone
from ssvideo.models.objectives.masked_prediction import gather_positions
from ssvideo.registry import MODELS
from ssvideo.structures import Clips, Features


@MODELS.register_module()
class VJEPA(BaseModel):
    """Joint-embedding prediction: latent targets of an averaged teacher, no pixels, no tokens.

    For each stream the teacher encodes the whole clips; its normalised outputs are the targets. For each way of masking
    the student encodes the visible part, a predictor fills in the rest, and the loss is the mean absolute error there.
    A :class:`TeacherHook` moves the teacher after each optimiser step.

    ``backbone`` is the *teacher*, since that is what is evaluated and fine-tuned: ``prefix='backbone.'`` of a checkpoint is
    the teacher, ``prefix='student.'`` the student.

    Args:
        backbone: config of the student's and the teacher's :class:`Backbone`, which reads pixels, whose last map is on the
            token grid and which has a final ``norm``.
        maskers: configs by name, one for each way of masking; every stream is masked in each of them.
        predictor: config of a decoder that is told what is hidden, such as ``dict(type='ssvideo.MaskTokenDecoder')``; it is
            given the backbone's channels and a mask token for each masker.
        data_preprocessor: config; a ``ClipPreprocessor`` with ``mean`` and ``std``.
        init_cfg: mmengine's.

    Attributes:
        is_followed: whether a :class:`TeacherHook` takes care of the teacher.

    Raises:
        ValueError: for a backbone that cannot be used, or without maskers.

    Source: V-JEPA, arXiv:2404.08471, Sec. 3.
    """

    # the step's masks are a function of (seed, rank, iteration, stream), the grid of the clip and the backbone's stride
    rng = Pretrainer.rng
    token_grid = Pretrainer.token_grid

    def __init__(self, backbone: dict, maskers: dict[str, dict], predictor: dict, data_preprocessor: dict | None = None,
                 init_cfg: dict | None = None) -> None:
        super().__init__(MODELS.build(data_preprocessor or dict(type='ClipPreprocessor')), init_cfg)
        if not maskers:
            raise ValueError('VJEPA needs at least one masker: maskers=dict(short=dict(type=...), ...)')
        self.student: Backbone = MODELS.build(backbone)
        _check_backbone(self.student)
        self.backbone: Backbone = copy.deepcopy(self.student).requires_grad_(False).eval()
        self.maskers = {name: MODELS.build(masker) for name, masker in maskers.items()}
        self.predictor = MODELS.build(predictor, default_args=dict(
            channels=self.student.channels, num_mask_tokens=len(maskers)))
        self.head = nn.Linear(self.predictor.out_channels, self.student.channels[-1])
        self.head.apply(initialise)
        self.is_followed = False
        self._num_losses = 0

    def loss(self, batch: Mapping[str, Clips]) -> dict[str, Tensor]:
        """Losses and metrics of a batch, ``<stream>_<masker>_<term>``; mmengine sums those that contain "loss".

        Returns:
            For each stream and masker the ``loss``, divided by the number of maskers; its ``mask_ratio``; and
            ``relative_error``, the error over that of a prediction which is the same everywhere, below 1 as soon as
            something is learned. For each stream ``<stream>_target_std``: 1 where the targets of a batch fill their
            space, 0 where the teacher has collapsed. Metrics are detached.

        Raises:
            ValueError: if the clips bring no pixels, or this is a training without a ``TeacherHook``.
        """
        self._check_hook()
        losses = {}
        for stream, clips in batch.items():
            targets = self.targets(clips)  # (N, t, h, w, C)
            for number, name in enumerate(self.maskers):
                mask = self.draw_mask(stream, name, clips)
                for term, value in self.masked_terms(clips, mask, targets, number).items():
                    losses[f'{stream}_{name}_{term}'] = value
            losses[f'{stream}_target_std'] = targets.flatten(0, 3).std(0, correction=0).mean()
        return losses

    @torch.no_grad()
    def targets(self, clips: Clips) -> Tensor:
        """What the teacher makes of whole clips: ``(N, t, h, w, C)``, each position with mean 0 and variance 1."""
        features = self.backbone(self._pixels(clips))
        latent = self.backbone.norm(features.maps[-1])
        latent = latent.to(torch.promote_types(latent.dtype, torch.float32))
        return F.layer_norm(latent, latent.shape[-1:])

    def draw_mask(self, stream: str, masker: str, clips: Clips) -> Tensor:
        """``(N, t, h, w)`` on the host, of one way of masking."""
        return self.maskers[masker](self.token_grid(clips), len(clips.frames), self.rng(f'{stream}/{masker}'))

    def masked_terms(self, clips: Clips, mask: Tensor, targets: Tensor, masker: int) -> dict[str, Tensor]:
        """Loss and metrics of one mask; see :meth:`loss`.

        Args:
            clips: the clips.
            mask: ``(N, t, h, w)`` on the host.
            targets: of :meth:`targets`.
            masker: number of the way of masking.
        """
        positions = to_device((mask != 0).flatten().nonzero().squeeze(1), targets.device)
        wanted = gather_positions(targets, positions)  # (P, C)
        error = (self.predict(clips, mask, positions, masker) - wanted).abs()
        mean_error = error.sum() / max(error.numel(), 1)
        constant = (wanted - wanted.mean(0)).abs().sum() / max(wanted.numel(), 1)
        return dict(loss=mean_error / len(self.maskers), relative_error=mean_error.detach() / constant.clamp_min(1e-6),
                    mask_ratio=(mask != 0).float().mean())

    def predict(self, clips: Clips, mask: Tensor, positions: Tensor, masker: int) -> Tensor:
        """Predict the targets at the masked positions from what is visible.

        Args:
            clips: the clips.
            mask: ``(N, t, h, w)`` on the host.
            positions: ``(P,)`` int64, where ``mask.flatten()`` hides, on the device.
            masker: number of the way of masking.

        Returns:
            ``(P, C)``.
        """
        pixels = self._pixels(clips)
        hidden = to_device(mask != 0, pixels.device)
        features = self.student(pixels, mask if self.student.mask_on_host else hidden)
        filled = self.predictor(self.student.norm(features.maps[-1]), hidden, masker)
        return self.head(gather_positions(filled, positions))

    @torch.no_grad()
    def update_teacher(self, momentum: float) -> None:
        """Move the teacher to ``momentum * teacher + (1 - momentum) * student``."""
        teacher, student = list(self.backbone.parameters()), list(self.student.parameters())
        torch._foreach_lerp_(teacher, student, 1.0 - momentum)
        for own, other in zip(self.backbone.buffers(), self.student.buffers()):
            own.copy_(other)

    # ---------------------------------------------------------------------------------------------------------- mmengine

    def forward(self, inputs: Mapping[str, Clips], data_samples: list | None = None,
                mode: str = 'tensor') -> dict[str, Tensor] | dict[str, Features]:
        """mmengine's entry.

        Args:
            inputs: clips by stream.
            data_samples: not used.
            mode: ``'loss'`` for :meth:`loss`; ``'tensor'`` for the teacher's features of each stream.

        Raises:
            ValueError: for another mode.
        """
        if mode == 'loss':
            return self.loss(inputs)
        if mode == 'tensor':
            return {stream: self.backbone(self._pixels(clips)) for stream, clips in inputs.items()}
        raise ValueError(f"VJEPA.forward: mode must be 'loss' or 'tensor', got {mode!r}")

    def train(self, mode: bool = True) -> VJEPA:
        """As torch's, but the teacher stays in eval mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def _pixels(self, clips: Clips) -> Tensor:
        if clips.pixels is None:
            raise ValueError("VJEPA reads pixels, and the batch has none: give it data_preprocessor=dict("
                             "type='ssvideo.ClipPreprocessor', mean=..., std=...)")
        return clips.pixels

    def _check_hook(self) -> None:
        in_training = MessageHub.get_current_instance().get_info('loop_stage', None) == 'train'
        if self.training and in_training and not self.is_followed:
            raise ValueError("nothing moves VJEPA's teacher: add dict(type='ssvideo.TeacherHook') to custom_hooks")


def _check_backbone(backbone: Backbone) -> None:
    name = type(backbone).__name__
    if backbone.reads != 'pixels' or backbone.token_stride is None:
        raise ValueError('VJEPA needs a backbone that reads pixels and states its token_stride, such as ssvideo.VideoViT; '
                         f'{name} reads {backbone.reads}, token_stride={backbone.token_stride}')
    norm = getattr(backbone, 'norm', None)
    if not isinstance(norm, nn.LayerNorm) or norm.normalized_shape != backbone.channels[-1:]:
        raise ValueError(f'VJEPA needs a backbone with a final norm of its last map; {name}.norm is {norm}')
