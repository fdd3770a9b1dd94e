"""The contract of a tokenizer, checked."""
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..models.tokenizers.base import Tokenizer
from .case import (
    Case,
    compiled,
    is_copied,
    is_pickled,
    is_registered,
    not_one_graph,
    on_meta,
    refuses_a_misspelt_argument,
    run_checks,
    shifted,
)


@dataclass
class TokenizerCase(Case):
    """A tokenizer, and what it tokenizes.

    Args:
        part: the tokenizer, in eval mode.
        arguments: see :class:`Case`.
        grid: ``(t, h, w)``.
        num_clips: N.
    """
    part: Tokenizer
    grid: tuple[int, int, int] = (2, 4, 4)
    num_clips: int = 2

    @property
    def pixels(self) -> Tensor:
        """``(N, 3, T, H, W)`` in [0, 1], always the same."""
        size = [cells * step for cells, step in zip(self.grid, self.part.stride)]
        return torch.rand(self.num_clips, 3, *size, generator=torch.Generator().manual_seed(0))

    @torch.inference_mode()
    def tokens(self) -> Tensor:
        """What a copy makes of :attr:`pixels`."""
        return self.fresh().eval()(self.pixels)


def returns_tokens_of_the_grid(case: TokenizerCase) -> None:
    """Pixels of (T, H, W) give tokens of (N, t, h, w), T, H and W divided by ``stride``."""
    shape, wanted = tuple(case.tokens().shape[:4]), (case.num_clips, *case.grid)
    assert shape == wanted, \
        f'Pixels {tuple(case.pixels.shape)} at stride {case.part.stride} give tokens of {wanted}, got {shape}.'


def returns_ids_or_vectors(case: TokenizerCase) -> None:
    """Tokens are int64 ids in 0..vocab_size - 1; or, where ``vocab_size`` is None, float vectors of ``target_dims``."""
    tokens, size = case.tokens(), case.part.vocab_size
    if size is None:
        assert tokens.dim() == 5 and tokens.is_floating_point(), \
            f'continuous targets are (N, t, h, w, C) float, got {tuple(tokens.shape)} {tokens.dtype}'
        assert case.part.target_dims == tokens.shape[-1], \
            f'target_dims says {case.part.target_dims}, the targets have {tokens.shape[-1]} channels'
        assert torch.isfinite(tokens).all(), 'The targets are not finite.'
    else:
        assert tokens.dim() == 4 and tokens.dtype == torch.int64, f'ids are (N, t, h, w) int64, got {tokens.dtype}'
        assert tokens.min() >= 0 and tokens.max() < size, \
            f'ids lie in 0..vocab_size - 1 = {size - 1}, got {int(tokens.min())}..{int(tokens.max())}'


def repeats_itself(case: TokenizerCase) -> None:
    """The same pixels give the same tokens."""
    assert torch.equal(case.tokens(), case.tokens()), 'They gave others the second time: a tokenizer is frozen and draws nothing.'


def keeps_frames_apart_where_it_says_so(case: TokenizerCase) -> None:
    """Where ``independent_frames`` is True, a token frame depends on its own frames alone."""
    if not case.part.independent_frames:
        return
    with torch.inference_mode():
        alone = case.fresh().eval()(case.pixels[:, :, :case.part.stride[0]])
    tokens = case.tokens()[:, :1]
    assert torch.equal(alone, tokens) or torch.allclose(alone.float(), tokens.float(), atol=1e-5), \
        'The first token frame is another without the frames after it: leave independent_frames False.'


def decodes_to_pixels(case: TokenizerCase) -> None:
    """Where there is a decoder, it gives pixels in [0, 1] of the size that was tokenized."""
    if type(case.part).decode is Tokenizer.decode:
        return
    with torch.inference_mode():
        decoded = case.fresh().eval().decode(case.tokens())
    wanted = case.pixels.shape
    assert decoded.shape == wanted, f'decode gives back {tuple(wanted)}, got {tuple(decoded.shape)}'
    assert decoded.min() >= 0 and decoded.max() <= 1, f'decoded pixels lie in [0, 1], got {decoded.min()}..{decoded.max()}'


def runs_on_any_device(case: TokenizerCase) -> None:
    """No device is written into it, and the host never waits for a value: torch's meta device runs it."""
    with torch.inference_mode(), on_meta():
        tokens = case.fresh().eval().to('meta')(case.pixels.to('meta'))
    assert tokens.device.type == 'meta', f'Pixels on meta gave tokens on {tokens.device}.'
    assert tokens.shape == case.tokens().shape, f'It gave {tuple(tokens.shape)} there.'


def works_under_autocast(case: TokenizerCase) -> None:
    """Autocast to bfloat16 changes precision, not what tokens are."""
    with torch.autocast('cpu', torch.bfloat16):
        tokens = case.tokens()
    plain = case.tokens()
    assert tokens.shape == plain.shape and tokens.is_floating_point() == plain.is_floating_point(), \
        f'Got {tuple(tokens.shape)} {tokens.dtype}, without it {tuple(plain.shape)} {plain.dtype}.'
    assert torch.isfinite(tokens.float()).all(), 'The targets are not finite.'


def compiles_to_one_graph(case: TokenizerCase) -> None:
    """``torch.compile`` takes the whole of it as one graph, with the same tokens."""
    module = case.fresh().eval()
    with torch.no_grad():
        try:
            tokens = compiled(module)(case.pixels)
        except torch._dynamo.exc.TorchDynamoException as error:
            raise not_one_graph(error) from error
    assert torch.allclose(tokens.float(), case.tokens().float(), atol=1e-5), 'The graph gives other tokens.'


def is_carried_by_its_state_dict(case: TokenizerCase) -> None:
    """A state dict carries the whole tokenizer: loaded into another, it makes the same tokens."""
    other = shifted(case.part).eval()
    other.load_state_dict(case.part.state_dict())
    with torch.inference_mode():
        assert torch.equal(other(case.pixels), case.tokens()), 'The other makes other tokens: register what decides in buffers.'


TOKENIZER_CHECKS = (returns_tokens_of_the_grid, returns_ids_or_vectors, repeats_itself, keeps_frames_apart_where_it_says_so,
                    decodes_to_pixels, runs_on_any_device, works_under_autocast, is_carried_by_its_state_dict,
                    refuses_a_misspelt_argument, is_copied)
TOKENIZER_KIT = (is_registered, *TOKENIZER_CHECKS, is_pickled, compiles_to_one_graph)


def check_tokenizer(tokenizer: Tokenizer, grid: tuple[int, int, int] = (2, 4, 4), num_clips: int = 2) -> None:
    """Check shapes, types, ranges, determinism, independence of frames, decoding, devices, precision, state and copies.

    Args:
        tokenizer: the tokenizer, in eval mode.
        grid: ``(t, h, w)``.
        num_clips: N.

    Raises:
        AssertionError: with the sentence of the contract that does not hold.
    """
    run_checks(TOKENIZER_CHECKS, TokenizerCase(tokenizer, grid=grid, num_clips=num_clips))
