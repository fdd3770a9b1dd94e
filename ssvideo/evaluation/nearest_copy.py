"""What hidden tokens can be told from by copying their nearest visible neighbours: no learning, no model."""
from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from ..models.maskers import BlockMasker
from ..models.tokenizers.base import Tokenizer
from ..structures import PAD
from .token_pictures import decode_tokens, pixels_of, psnr

FRAME_STEP = 1 - 1e-6
"""From frame to frame, in tokens: one, and a hair less, so that of two equally near neighbours the other frame's wins."""

NEIGHBOURS = ('spatial', 'spatio-temporal')


def copy_nearest(tokens: Tensor, mask: Tensor, across_time: bool) -> Tensor:
    """Replace each hidden token by the nearest visible one.

    Near is the Euclidean distance on the token grid. ``across_time`` looks in all frames: a frame counts as far as a
    token, and of equally near tokens the one that is closer in space is taken (the paper gives no such detail). Without
    it only the hidden token's own frame is looked at; a frame in which nothing is visible is filled across time all the
    same. ``PAD`` is never copied and never replaced.

    Args:
        tokens: ``(N, t, h, w)`` int64.
        mask: ``(N, t, h, w)`` bool, True = hidden.
        across_time: spatio-temporal neighbours, or spatial ones only.

    Returns:
        ``(N, t, h, w)`` int64, equal to ``tokens`` where nothing is hidden.

    Raises:
        ValueError: if a clip has no visible token.

    Source: VIMPAC, arXiv:2106.11250, App. G.2 and Fig. 4.
    """
    pad = tokens == PAD
    sources = [_nearest(visible, across_time) for visible in (~mask & ~pad).cpu().numpy()]
    sources = torch.from_numpy(np.stack(sources)).to(tokens.device)
    copied = tokens.flatten(1).gather(1, sources.flatten(1)).view_as(tokens)
    return torch.where(mask & ~pad, copied, tokens)


def _nearest(visible: np.ndarray, across_time: bool) -> np.ndarray:
    """For each cell of ``(t, h, w)`` the index, in the flattened clip, of the nearest visible cell."""
    if not visible.any():
        raise ValueError(f'no token of the {"x".join(map(str, visible.shape))} clip is visible, so there is none to copy: '
                         'hide fewer tokens')
    found = distance_transform_edt(~visible, sampling=(FRAME_STEP, 1, 1), return_distances=False, return_indices=True)
    for frame, shown in enumerate(visible):
        if not across_time and shown.any():
            found[0, frame] = frame
            found[1:, frame] = distance_transform_edt(~shown, return_distances=False, return_indices=True)
    return np.ravel_multi_index(tuple(found), visible.shape)


def draw_block_mask(grid: tuple[int, int, int], ratio: float, rng: random.Random, pad: Tensor | None = None) -> Tensor:
    """VIMPAC's blocks, one after the other, until their union is as near to a ratio as a block allows.

    Args:
        grid: ``(t, h, w)``.
        ratio: share of the tokens that are no ``PAD``, in (0, 1).
        rng: the only source of randomness.
        pad: ``(t, h, w)`` bool, True where there is no video; such positions stay visible.

    Returns:
        ``(t, h, w)`` bool, at least one token hidden.

    Raises:
        ValueError: for another ratio, or if there is no video at all.
    """
    if not 0 < ratio < 1:
        raise ValueError(f'ratio must lie between 0 and 1, got {ratio}')
    video = torch.ones(grid, dtype=torch.bool) if pad is None else ~pad
    if not video.any():
        raise ValueError('the clip has no frame of a video, only PAD: leave it out')
    wanted, masker = ratio * video.sum().item(), BlockMasker(num_blocks=1)
    before = mask = torch.zeros(grid, dtype=torch.bool)
    while mask.sum() < wanted:
        before, mask = mask, mask | (masker.sample(grid, rng) & video)
    overshoots = mask.sum() - wanted > wanted - before.sum()
    return before if overshoots and before.any() else mask


def scatter_mask(mask: Tensor, rng: random.Random, pad: Tensor | None = None) -> Tensor:
    """As many hidden tokens as ``mask`` has, each set of places equally likely: i.i.d. masking at an equal number.

    Args:
        mask: ``(t, h, w)`` bool.
        rng: the only source of randomness.
        pad: as in :func:`draw_block_mask`.
    """
    places = range(mask.numel()) if pad is None else (~pad).flatten().nonzero().flatten().tolist()
    scattered = torch.zeros(mask.numel(), dtype=torch.bool)
    scattered[rng.sample(places, int(mask.sum()))] = True
    return scattered.view_as(mask)


@dataclass
class CopyTrial:
    """A clip whose hidden tokens were copied from their neighbours.

    Args:
        masking: ``'block'`` or ``'i.i.d.'``.
        ratio: share of tokens that was asked for.
        neighbours: one of ``NEIGHBOURS``.
        mask: ``(t, h, w)`` bool, True = hidden.
        pixels: ``(3, T, H, W)`` in [0, 1], decoded after copying.
        numbers: ``hidden`` (share of the tokens that are no ``PAD``), ``agreement`` (share of hidden tokens that equal
            their copy), and the PSNR in dB against the decoded true tokens: ``psnr_hidden`` within the hidden tokens'
            pixels, ``psnr`` over the whole clip.
    """
    masking: str
    ratio: float
    neighbours: str
    mask: Tensor
    pixels: Tensor
    numbers: dict[str, float]

    def describe(self) -> dict:
        """Settings and numbers, for JSON."""
        return dict(masking=self.masking, ratio=self.ratio, neighbours=self.neighbours, **self.numbers)


@torch.inference_mode()
def try_copies(tokens: Tensor, tokenizer: Tokenizer, ratios: Sequence[float],
               rng: random.Random) -> tuple[Tensor, list[CopyTrial]]:
    """Hide tokens of a clip in blocks and scattered, as many of each, and copy spatial and spatio-temporal neighbours.

    Args:
        tokens: ``(t, h, w)`` int64, on the tokenizer's device; ``PAD`` allowed.
        tokenizer: one of ids, with a decoder.
        ratios: shares of tokens to hide.
        rng: the only source of randomness.

    Returns:
        ``(3, T, H, W)`` in [0, 1], the decoded true tokens; and four trials for each ratio.

    Raises:
        ValueError: if a ratio is out of range, or nothing is left to copy.
    """
    truth, trials = decode_tokens(tokenizer, tokens[None]), []
    pad = (tokens == PAD).cpu()
    for ratio in ratios:
        blocks = draw_block_mask(tuple(tokens.shape), ratio, rng, pad)
        for masking, mask in {'block': blocks, 'i.i.d.': scatter_mask(blocks, rng, pad)}.items():
            for neighbours in NEIGHBOURS:
                trials.append(_try_copy(tokens[None], mask.to(tokens.device)[None], truth, tokenizer, masking, ratio, neighbours))
    return truth[0], trials


def _try_copy(tokens: Tensor, mask: Tensor, truth: Tensor, tokenizer: Tokenizer, masking: str, ratio: float,
              neighbours: str) -> CopyTrial:
    copied, video = copy_nearest(tokens, mask, across_time=neighbours == 'spatio-temporal'), tokens != PAD
    pixels = decode_tokens(tokenizer, copied)
    numbers = dict(hidden=mask.sum().item() / video.sum().item(),
                   agreement=(copied == tokens)[mask].double().mean().item(),
                   psnr_hidden=psnr(pixels, truth, pixels_of(mask, pixels)), psnr=psnr(pixels, truth, pixels_of(video, pixels)))
    return CopyTrial(masking, ratio, neighbours, mask[0].cpu(), pixels[0], numbers)


def mean_numbers(trials: Sequence[Sequence[CopyTrial]]) -> list[dict]:
    """The mean over clips, of which each has the same settings in the same order: as ``CopyTrial.describe``."""
    means = []
    for same in zip(*trials, strict=True):
        numbers = {name: sum(trial.numbers[name] for trial in same) / len(same) for name in same[0].numbers}
        means.append(same[0].describe() | numbers)
    return means
