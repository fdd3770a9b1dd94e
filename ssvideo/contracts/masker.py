"""The contract of a masker, checked."""
from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from ..models.maskers.base import Grid, Masker
from .case import Case, is_copied, is_pickled, is_registered, refuses_a_misspelt_argument, run_checks


@dataclass
class MaskerCase(Case):
    """A masker, and what it masks.

    Args:
        part: the masker.
        arguments: see :class:`Case`.
        grid: ``(t, h, w)`` of the tokens; t a multiple of the masker's ``temporal_stride``.
        num_clips: N.
    """
    part: Masker
    grid: Grid = (8, 14, 14)
    num_clips: int = 6

    def draw(self, seed: int = 0) -> Tensor:
        """The masks ``(N, t, h, w)`` of a seed, by a copy of the masker."""
        return self.fresh()(self.grid, self.num_clips, random.Random(seed))


def returns_masks_of_the_grid(case: MaskerCase) -> None:
    """A masker returns (N, t, h, w), one mask for each clip."""
    mask, wanted = case.draw(), (case.num_clips, *case.grid)
    assert isinstance(mask, Tensor) and mask.shape == wanted, f'Expected {wanted}, got {tuple(getattr(mask, "shape", ()))}.'


def returns_bool_or_int8_on_the_host(case: MaskerCase) -> None:
    """A mask is bool, or int8 with the kinds 0 to 3, and is drawn on the host."""
    mask = case.draw()
    assert mask.dtype in (torch.bool, torch.int8), f'Got {mask.dtype}.'
    assert mask.device.type == 'cpu', f'Masks are drawn on the host, got {mask.device}.'
    assert mask.dtype == torch.bool or 0 <= mask.min() <= mask.max() <= 3, f'Got the kinds {mask.unique().tolist()}.'


def hides_some_and_leaves_some(case: MaskerCase) -> None:
    """A masker hides something and leaves something visible in every clip."""
    hidden = case.draw() != 0
    assert hidden.any(), 'A masker hides something, this one hid nothing in any clip.'
    assert not hidden.flatten(1).all(1).any(), 'A clip was hidden whole.'


def draws_from_its_rng_alone(case: MaskerCase) -> None:
    """The rng that a masker is given is the only source of randomness: the same rng gives the same mask."""
    random.seed(1)
    torch.manual_seed(1)
    before = random.getstate(), torch.get_rng_state()
    masker = case.fresh()
    first, again = (masker(case.grid, case.num_clips, random.Random(0)) for _ in range(2))
    assert torch.equal(first, again), 'The same rng gave two masks: draw with the rng that sample() is given.'
    assert random.getstate() == before[0] and torch.equal(torch.get_rng_state(), before[1]), \
        'It touches a global source of randomness (random, or torch).'


def draws_other_masks_from_another_rng(case: MaskerCase) -> None:
    """Another rng gives another mask."""
    assert not torch.equal(case.draw(0), case.draw(1)), 'Two rngs gave the same masks.'


def never_masks_pad(case: MaskerCase) -> None:
    """A position with no video behind it (PAD) is never masked, so never predicted."""
    pad = torch.zeros(case.num_clips, *case.grid, dtype=torch.bool)
    pad[::2, case.grid[0] // 2:] = True
    mask = case.fresh()(case.grid, case.num_clips, random.Random(0), pad)
    masked = int(((mask != 0) & pad).sum())
    assert not masked, (f'It masked {masked} of {int(pad.sum())} such positions: write sample(), and leave __call__, which keeps '
                        'them visible, as it is.')


def repeats_over_its_temporal_stride(case: MaskerCase) -> None:
    """A mask is repeated over ``temporal_stride`` frames, so that a token is hidden where its patch is."""
    stride = case.part.temporal_stride
    groups = (case.draw() != 0).unflatten(1, (case.grid[0] // stride, stride))
    assert (groups == groups[:, :, :1]).all(), f'The frames of a group of temporal_stride={stride} differ.'


def serves_images(case: MaskerCase) -> None:
    """A masker serves images: clips of one frame."""
    image = case.fresh()((1, *case.grid[1:]), case.num_clips, random.Random(0))
    wanted = case.num_clips, 1, *case.grid[1:]
    assert image.shape == wanted, f'Expected {wanted}, got {tuple(image.shape)}.'


MASKER_CHECKS = (returns_masks_of_the_grid, returns_bool_or_int8_on_the_host, hides_some_and_leaves_some,
                 draws_from_its_rng_alone, draws_other_masks_from_another_rng, never_masks_pad, repeats_over_its_temporal_stride,
                 serves_images, refuses_a_misspelt_argument, is_copied)
MASKER_KIT = (is_registered, *MASKER_CHECKS, is_pickled)


def check_masker(masker: Masker, grid: Grid = (8, 14, 14), num_clips: int = 6) -> None:
    """Check shapes, types, determinism, PAD, the temporal stride, one-frame clips, copies and arguments.

    Args:
        masker: the masker.
        grid: ``(t, h, w)`` of the tokens; t a multiple of the masker's ``temporal_stride``.
        num_clips: N.

    Raises:
        AssertionError: with the sentence of the contract that does not hold.
    """
    run_checks(MASKER_CHECKS, MaskerCase(masker, grid=grid, num_clips=num_clips))
