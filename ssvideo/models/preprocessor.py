"""From what the loaders give to :class:`~ssvideo.structures.Clips` on the device."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from ..registry import MODELS
from ..structures import PAD, Clips


@MODELS.register_module()
class ClipPreprocessor(BaseDataPreprocessor):
    """Stacks samples into clips, moves them as uint8 and normalises on the device.

    A sample holds ``inputs``, ``(V, 3, T, H, W)`` uint8 as mmaction2's ``PackActionInputs`` makes it, or ``tokens``,
    ``(V, t, h, w)`` int64 as ``TokenClips`` reads it from a token store, or both as ``StoredTokens`` packs them.

    Args:
        mean: per channel, in 0..255; ``None`` makes no pixels (a backbone that reads tokens needs none).
        std: per channel, in 0..255.
        augments: by stream the config of what augments its clips on the device in training, such as ``DeviceAugment``: a function
            of clips, ``(N, 3, T, H, W)`` uint8, and the stream's name. Other streams are not augmented.

    Raises:
        ValueError: if only one of ``mean`` and ``std`` is given.
    """

    def __init__(self, mean: Sequence[float] | None = None, std: Sequence[float] | None = None,
                 augments: dict[str, dict] | None = None) -> None:
        super().__init__(non_blocking=True)
        if (mean is None) != (std is None):
            raise ValueError(f'ClipPreprocessor: give both mean and std, or neither; got mean={mean}, std={std}')
        self.normalises = mean is not None
        self.augments = {stream: MODELS.build(augment) for stream, augment in (augments or {}).items()}
        if self.normalises:
            self.register_buffer('mean', torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1, 1), persistent=False)
            self.register_buffer('std', torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1, 1), persistent=False)

    def forward(self, data: Mapping, training: bool = False) -> dict:
        """Make the arguments of the model's ``forward``.

        Args:
            data: one batch (``inputs`` and/or ``tokens``, ``data_samples``), or a dict of batches by stream.
            training: whether to augment.

        Returns:
            ``{'inputs': Clips, 'data_samples': list or None}``, or ``{'inputs': {stream: Clips}}``.
        """
        if 'inputs' in data or 'tokens' in data:
            return dict(inputs=self.clips(data), data_samples=data.get('data_samples'))
        if training and (unknown := self.augments.keys() - data.keys()):
            raise ValueError(f'augments name the streams {sorted(unknown)}; the batch brings {sorted(data)}')
        return dict(inputs={stream: self.clips(batch, stream if training else None) for stream, batch in data.items()})

    def clips(self, batch: Mapping, augment_as: str | None = None) -> Clips:
        """Stack one batch; see the class.

        Args:
            batch: ``inputs`` and/or ``tokens``.
            augment_as: the stream by whose ``augments`` the clips are augmented; ``None``: they are not.

        Raises:
            ValueError: if the batch holds neither pixels nor tokens, samples of different shapes, or other numbers of
                clips as pixels and as tokens.
        """
        if not batch.get('inputs') and not batch.get('tokens'):
            raise ValueError(f"a batch needs 'inputs' (pixels) or 'tokens', got the keys {sorted(batch)}: "
                             'end the pipeline with PackActionInputs')
        # stacked on the device: the copies there may then run on their own, and the host is spared a pass over the pixels
        frames = self._stack(self.cast_data(list(batch['inputs']))) if batch.get('inputs') else None
        tokens = self._stack(batch['tokens']) if batch.get('tokens') else None
        if frames is not None and tokens is not None and len(frames) != len(tokens):
            raise ValueError(f'a batch must have the tokens of each of its clips, got {len(frames)} clips of pixels and '
                             f'{len(tokens)} of tokens: use one crop, and the same num_clips')
        if augment_as in self.augments:
            if frames is None or tokens is not None:
                raise ValueError(f'augments of stream {augment_as!r} change pixels, and the batch brings '
                                 f'{"tokens only" if frames is None else "tokens of a stored view, which would not fit them"}: '
                                 'leave the stream out of augments')
            frames = self.augments[augment_as](frames, augment_as)
        pad = None if tokens is None else tokens == PAD
        samples = batch.get('inputs') or batch['tokens']
        return Clips(
            frames=frames,
            pixels=self._normalise(frames),
            tokens=None if tokens is None else self.cast_data(tokens),
            pad=pad if pad is not None and pad.any() else None,
            num_views=len(samples[0]))

    @staticmethod
    def _stack(samples: Sequence[Tensor]) -> Tensor:
        shapes = {tuple(sample.shape) for sample in samples}
        if len(shapes) > 1:
            raise ValueError(f'the samples of a batch must have one shape, got {sorted(shapes)}: crop or resize to '
                             'one size, and use one number of clips')
        return torch.stack(list(samples), dim=1).flatten(0, 1)  # (V * B, ...), view-major

    def _normalise(self, frames: Tensor | None) -> Tensor | None:
        if frames is None or not self.normalises:
            return None
        return (frames - self.mean) / self.std
