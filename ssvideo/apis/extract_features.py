"""Features of a video."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..datasets.video_windows import Window, read_windows
from ..models.frozen_encoder import FrozenEncoder
from ..models.tokenizers import Tokenizer, load_tokenizer


@dataclass
class VideoFeatures:
    """The features of the windows of a video, on the CPU.

    Args:
        starts: ``(windows,)`` float64, where each starts, in seconds.
        summary: ``(windows, C)``, [CLS], or the mean of the normalised last map.
        tokens: ``(windows, t, h, w, C)``, the last map, un-normalised; ``None`` where it was not asked for.
    """
    starts: np.ndarray
    summary: Tensor
    tokens: Tensor | None = None


def extract_features(model: nn.Module, video: str | Path, num_frames: int | None = None, fps: float | None = None,
                     size: int | None = None, stride: float | None = None, tokenizer: Tokenizer | str | Path | None = None,
                     tokens: bool = False, batch_size: int = 8) -> VideoFeatures:
    """Encode a video, window by window.

    Args:
        model: from ``load_pretrained``, or a :class:`~ssvideo.models.frozen_encoder.FrozenEncoder`; on any device. It is put
            into eval mode.
        video: a file of any length.
        num_frames: frames of a window; known where the backbone reads tokens.
        fps: frames per second.
        size: height and width that the model is shown; known where the backbone reads tokens.
        stride: seconds from window to window; ``None``: they follow on each other.
        tokenizer: or its file, for a backbone that reads tokens.
        tokens: whether the last map is wanted, too.
        batch_size: windows encoded at once.

    Raises:
        ValueError: if what is not known is not given.
        BrokenFileError: if the video cannot be read.

    Example:
        >>> model = load_pretrained('bevt.safetensors')
        >>> extract_features(model, 'my_video.mp4', num_frames=16, fps=8, size=224).summary  # (windows, C)
    """
    encoder = FrozenEncoder.of(model, load_tokenizer(tokenizer) if isinstance(tokenizer, (str, Path)) else tokenizer)
    window = window_of(encoder, num_frames, fps, size, stride)
    encoder.to(next(encoder.backbone.parameters()).device)  # the tokenizer, too
    starts, summaries, maps = [], [], []
    for some, frames in read_windows(video, window, batch_size):
        features = encoder.encode_frames(frames)
        starts.append(some)
        summaries.append(features.summary.float().cpu())
        if tokens:
            maps.append(features.maps[-1].float().cpu())
    return VideoFeatures(np.concatenate(starts), torch.cat(summaries), torch.cat(maps) if tokens else None)


def window_of(encoder: FrozenEncoder, num_frames: int | None, fps: float | None, size: int | None,
              stride: float | None = None) -> Window:
    """The windows that an encoder reads, where its grid leaves something open as given.

    Raises:
        ValueError: if something is missing, or another than the model was built for.
    """
    if encoder.backbone.reads == 'tokens':
        known = _of_grid(encoder)
        for name, value in dict(num_frames=num_frames, size=size).items():
            if value not in (None, known[name]):
                raise ValueError(f'{name}={value}, but the model reads windows of {known[name]}: leave it out')
        num_frames, size = known['num_frames'], known['size']
    given = dict(num_frames=num_frames, fps=fps, size=size)
    if missing := [name for name, value in given.items() if value is None]:
        raise ValueError(f'say {", ".join(missing)} of the windows: the model does not tell on what it was trained (VIMPAC: 2 '
                         'frames per second)')
    return Window(num_frames, fps, size, stride)


def _of_grid(encoder: FrozenEncoder) -> dict[str, int]:
    if encoder.tokenizer is None:
        raise ValueError(f'{type(encoder.backbone).__name__} reads tokens: say which tokenizer makes them')
    frames, height, width = (cells * step for cells, step in zip(encoder.backbone.grid, encoder.tokenizer.stride))
    if height != width:
        raise ValueError(f'the model reads windows of {height} x {width} pixels, expected a square')
    return dict(num_frames=frames, size=height)
