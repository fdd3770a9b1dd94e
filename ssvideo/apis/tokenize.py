"""The tokens of a video."""
from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..datasets.broken import BrokenFileError
from ..datasets.video_windows import read_whole
from ..models.tokenizers import Tokenizer, load_tokenizer


@torch.no_grad()
def tokenize(tokenizer: Tokenizer | str | Path, video: str | Path, fps: float, size: int) -> Tensor:
    """Tokenize a video from start to end.

    ``tools/extract_tokens.py`` makes a store of many videos, in several processes.

    Args:
        tokenizer: or its file.
        video: a file of any length.
        fps: frames per second.
        size: height and width that the tokenizer is shown, a multiple of its stride: the short side is resized to it and
            the central square cut out.

    Returns:
        ``(t, h, w)`` int64, or ``(t, h, w, C)`` float for continuous targets, on the CPU.

    Raises:
        ValueError: if the size does not fit the tokenizer.
        BrokenFileError: if the video cannot be read, or is shorter than one token.

    Example:
        >>> tokens = tokenize('dalle.safetensors', 'my_video.mp4', fps=2, size=128)  # (t, 16, 16)
    """
    if not isinstance(tokenizer, Tokenizer):
        tokenizer = load_tokenizer(tokenizer)
    if any(size % step for step in tokenizer.stride[1:]):
        raise ValueError(f'size={size} does not divide by the stride {tokenizer.stride[1:]} of {type(tokenizer).__name__}')
    device = next((parameter.device for parameter in tokenizer.parameters()), torch.device('cpu'))
    parts = [tokenizer(frames[None].to(device) / 255)[0].cpu()
             for frames in read_whole(video, fps, size, multiple=tokenizer.stride[0])]
    if not parts:
        raise BrokenFileError(str(video), f'it has fewer than {tokenizer.stride[0]} frames at {fps} a second')
    return torch.cat(parts)
