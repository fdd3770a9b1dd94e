"""Crops, mirroring and colour of a batch of clips, on the device."""
from __future__ import annotations

import random
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import get_rank
from mmengine.logging import MessageHub
from torch import Tensor

from ..registry import MODELS

GREY = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in a grey picture, torchvision's."""


@MODELS.register_module()
class DeviceAugment:
    """Augments uint8 clips on the device, each clip in one way for all its frames.

    Loaders then only decode to one size. What is drawn is a function of (seed, rank, iteration, stream), as masks are, so a
    resumed run draws what the uninterrupted one would have.

    Args:
        size: side of the square clips that come out.
        crop_range: smallest and largest side of the square that is cut out, in pixels, uniform; where it is not ``size`` it is
            resized (bicubic, anti-aliased). ``None``: always ``size``. BEVT's short side of 256 to 320 with crops of 224 is,
            from frames of 320 px, ``(224, 280)``.
        flip: probability to mirror a clip.
        brightness: a factor is drawn from 1 - brightness to 1 + brightness.
        contrast: the same, of the distance from the mean grey of a frame.
        saturation: the same, of the distance from grey. The three are applied in this order, by torchvision's rules.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(self, size: int, crop_range: Sequence[int] | None = None, flip: float = 0.0, brightness: float = 0.0,
                 contrast: float = 0.0, saturation: float = 0.0) -> None:
        self.size = size
        self.crop_range = tuple(crop_range or (size, size))
        self.flip = flip
        self.strengths = brightness, contrast, saturation
        if size < 1 or len(self.crop_range) != 2 or not 1 <= self.crop_range[0] <= self.crop_range[1]:
            raise ValueError(f'DeviceAugment: size must be positive and crop_range (smallest, largest) side; got size={size}, '
                             f'crop_range={crop_range}')
        if not 0 <= flip <= 1 or min(self.strengths) < 0:
            raise ValueError('DeviceAugment: flip must lie in [0, 1], and brightness, contrast and saturation be at least 0; got '
                             f'flip={flip}, {self.strengths}')
        self._num_calls = 0

    def __call__(self, frames: Tensor, stream: str) -> Tensor:
        """Augment.

        Args:
            frames: ``(N, 3, T, H, W)`` uint8.
            stream: whose clips they are.

        Returns:
            ``(N, 3, T, size, size)`` uint8.

        Raises:
            ValueError: if the frames are smaller than a crop.
        """
        if min(frames.shape[3:]) < self.crop_range[1]:
            raise ValueError(f'DeviceAugment cuts out up to {self.crop_range[1]} x {self.crop_range[1]} pixels, and the clips of '
                             f'stream {stream!r} have {frames.shape[3]} x {frames.shape[4]}: let the pipeline make them larger')
        rng = self._rng(stream)
        clips = torch.stack([self._cut(clip, rng) for clip in frames])
        if not any(self.strengths):
            return clips
        factors = torch.tensor([[rng.uniform(max(0.0, 1 - strength), 1 + strength) for strength in self.strengths]
                                for _ in clips])
        if frames.is_cuda:
            factors = factors.pin_memory()
        return self._colour(clips, factors.to(frames.device, non_blocking=True))

    def _rng(self, stream: str) -> random.Random:
        hub = MessageHub.get_current_instance()
        iteration = hub.get_info('iter', None)
        if iteration is None:  # not in a training loop
            iteration, self._num_calls = f'free-{self._num_calls}', self._num_calls + 1
        return random.Random(f"{hub.get_info('seed', 0)}/{get_rank()}/{iteration}/{stream}/augment")

    def _cut(self, clip: Tensor, rng: random.Random) -> Tensor:
        """``(3, T, H, W)`` -> ``(3, T, size, size)``."""
        side = rng.randint(*self.crop_range)
        top, left = (rng.randint(0, whole - side) for whole in clip.shape[2:])
        clip = clip[:, :, top:top + side, left:left + side]
        if side != self.size:
            resized = F.interpolate(clip.float(), size=(self.size, self.size), mode='bicubic', antialias=True)
            clip = resized.round().clamp(0, 255).to(torch.uint8)
        return clip.flip(-1) if rng.random() < self.flip else clip

    @staticmethod
    def _colour(clips: Tensor, factors: Tensor) -> Tensor:
        brightness, contrast, saturation = factors.view(-1, 3, 1, 1, 1, 1).unbind(1)
        clips = _blend(clips, torch.zeros_like(brightness), brightness)
        clips = _blend(clips, _grey(clips).mean((1, 3, 4), dtype=torch.float32, keepdim=True), contrast)
        return _blend(clips, _grey(clips), saturation)


def _grey(clips: Tensor) -> Tensor:
    """``(N, 3, T, H, W)`` -> ``(N, 1, T, H, W)``, on whole levels."""
    red, green, blue = clips.split(1, dim=1)
    return (GREY[0] * red + GREY[1] * green + GREY[2] * blue).floor()


def _blend(clips: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    return (factor * clips + (1.0 - factor) * other).clamp(0, 255).to(torch.uint8)
