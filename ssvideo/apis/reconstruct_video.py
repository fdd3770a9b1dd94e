"""What a pre-trained model would put where it cannot see, of a video."""
from __future__ import annotations

from pathlib import Path

import torch

from ..datasets.given_videos import middle_clip
from ..models.frozen_encoder import FrozenEncoder
from ..models.layers.resize_pixels import resize_pixels
from ..models.pretrainer import Pretrainer
from ..models.tokenizers import Tokenizer, load_tokenizer
from ..structures import Clips
from .extract_features import window_of
from .reconstruct import Reconstruction, reconstruct_masked


@torch.no_grad()
def reconstruct(model: Pretrainer, video: str | Path, tokenizer: Tokenizer | str | Path, fps: float,
                num_frames: int | None = None, size: int | None = None) -> Reconstruction:
    """Mask the clip in the middle of a video, and decode what the model predicts at the masked places.

    Each call draws another mask; a model that was just loaded draws the same ones in the same order.

    Args:
        model: from ``load_pretrained``; put into eval mode.
        video: a file.
        tokenizer: or its file, with a decoder; the one that the model was trained with.
        fps: frames per second.
        num_frames: of the clip; known where the backbone reads tokens.
        size: height and width; known where the backbone reads tokens.

    Returns:
        One clip: ``measure(0)`` has numbers, ``rows(0)`` pictures.

    Raises:
        ValueError: if the model does not predict tokens of video, or what is not known is not given.
        BrokenFileError: if the video cannot be read.

    Example:
        >>> model = load_pretrained('vimpac_small.safetensors')
        >>> rows = reconstruct(model, 'my_video.mp4', tokenizer='dalle.safetensors', fps=2).rows(0)
    """
    if not isinstance(model, Pretrainer):
        raise ValueError(f'a {type(model).__name__} predicts no tokens: load a pre-trained model')
    tokenizer = tokenizer if isinstance(tokenizer, Tokenizer) else load_tokenizer(tokenizer)
    device = next(model.backbone.parameters()).device
    tokenizer.to(device)
    window = window_of(FrozenEncoder.of(model, tokenizer), num_frames, fps, size)
    stream = 'video' if 'video' in model.maskers else next(iter(model.maskers))
    frames = middle_clip(str(video), window.num_frames, window.fps, window.size)
    clips = model.data_preprocessor({stream: dict(inputs=[frames[None]])})['inputs'][stream]
    grid = model.backbone.grid if model.backbone.reads == 'tokens' else model.token_grid(clips)
    view = resize_pixels(clips.frames, (grid[1] * tokenizer.stride[1], grid[2] * tokenizer.stride[2]), tokenizer.view_filter)
    found = reconstruct_masked(model, {stream: Clips(clips.frames, clips.pixels, tokenizer(view))}, tokenizer)
    if stream not in found:
        raise ValueError(f'no objective of the stream {stream!r} predicts tokens from masked clips')
    return found[stream]
