"""The contract of a tokenizer, checked."""
from __future__ import annotations

import torch

from ..models.tokenizers.base import Tokenizer


def check_tokenizer(tokenizer: Tokenizer, grid: tuple[int, int, int] = (2, 4, 4), num_clips: int = 2) -> None:
    """Check shapes, types, ranges, determinism, independence of frames and decoding.

    Args:
        tokenizer: the tokenizer, in eval mode.
        grid: ``(t, h, w)``.
        num_clips: N.

    Raises:
        AssertionError: with the sentence of the contract that does not hold.
    """
    generator = torch.Generator().manual_seed(0)
    size = [cells * step for cells, step in zip(grid, tokenizer.stride)]
    pixels = torch.rand(num_clips, 3, *size, generator=generator)
    with torch.no_grad():
        tokens = tokenizer(pixels)
        again = tokenizer(pixels)
    assert tuple(tokens.shape[:4]) == (num_clips, *grid), \
        (f'pixels {tuple(pixels.shape)} at stride {tokenizer.stride} give tokens of {(num_clips, *grid)}, '
         f'got {tuple(tokens.shape)}')
    assert torch.equal(tokens, again), 'the same pixels give the same tokens'
    if tokenizer.vocab_size is None:
        assert tokens.dim() == 5 and tokens.is_floating_point(), 'continuous targets are (N, t, h, w, C) float'
        assert tokenizer.target_dims == tokens.shape[-1], \
            f'target_dims says {tokenizer.target_dims}, the targets have {tokens.shape[-1]} channels'
    else:
        assert tokens.dim() == 4 and tokens.dtype == torch.int64, f'ids are (N, t, h, w) int64, got {tokens.dtype}'
        assert tokens.min() >= 0 and tokens.max() < tokenizer.vocab_size, 'ids lie in 0..vocab_size - 1'
    if tokenizer.independent_frames:
        span = tokenizer.stride[0]
        with torch.no_grad():
            alone = tokenizer(pixels[:, :, :span])
        assert torch.equal(alone, tokens[:, :1]) or torch.allclose(alone.float(), tokens[:, :1].float(), atol=1e-5), \
            'independent_frames says that a token frame depends on its own frames alone'
    if type(tokenizer).decode is not Tokenizer.decode:
        with torch.no_grad():
            decoded = tokenizer.decode(tokens)
        assert decoded.shape == pixels.shape, f'decode gives back {tuple(pixels.shape)}, got {tuple(decoded.shape)}'
        assert decoded.min() >= 0 and decoded.max() <= 1, 'decoded pixels lie in [0, 1]'
