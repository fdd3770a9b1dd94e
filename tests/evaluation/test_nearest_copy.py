from __future__ import annotations

import random
from itertools import product

import pytest
import torch

from ssvideo.evaluation.nearest_copy import copy_nearest, draw_block_mask, mean_numbers, scatter_mask, try_copies
from ssvideo.evaluation.token_pictures import decode_tokens, psnr
from ssvideo.structures import PAD


def nearest_places(visible: torch.Tensor, place: tuple, across_time: bool) -> set[tuple]:
    """The slow reference: every visible place that is as near as any, by distance and then by distance in space."""
    t, y, x = place
    found = {}
    for other in product(*map(range, visible.shape)):
        if visible[other] and (across_time or other[0] == t or not visible[t].any()):
            space = (other[1] - y)**2 + (other[2] - x)**2
            found.setdefault(((other[0] - t)**2 + space, space), set()).add(other)
    return found[min(found)]


@pytest.mark.parametrize('across_time', [False, True])
@pytest.mark.parametrize('ratio', [0.15, 0.45, 0.95])
def test_copy_nearest__agrees_with_plain_loops(across_time, ratio):
    torch.manual_seed(int(100 * ratio))
    tokens = torch.arange(2 * 5 * 6 * 7).view(2, 5, 6, 7)  # every token tells its place
    tokens[1, 3:] = PAD
    mask = torch.rand(tokens.shape) < ratio
    copied = copy_nearest(tokens, mask, across_time)
    visible = ~mask & (tokens != PAD)
    assert torch.equal(copied[~mask | (tokens == PAD)], tokens[~mask | (tokens == PAD)]), 'what is visible stays, so does PAD'
    for clip, *place in (mask & (tokens != PAD)).nonzero().tolist():
        possible = {tokens[(clip, *other)].item() for other in nearest_places(visible[clip], tuple(place), across_time)}
        assert copied[(clip, *place)].item() in possible


def test_copy_nearest__spatial_neighbours_lie_in_the_same_frame_while_there_are_any():
    tokens = torch.arange(3).view(1, 3, 1, 1).expand(1, 3, 4, 4).clone()  # every token tells its frame
    mask = torch.zeros(tokens.shape, dtype=torch.bool)
    mask[0, 0, :, 1:], mask[0, 1] = True, True
    assert (copy_nearest(tokens, mask, across_time=False)[0, 0] == 0).all()
    assert (copy_nearest(tokens, mask, across_time=False)[0, 1] != 1).all(), 'frame 1 has none, and is filled across time'
    assert (copy_nearest(tokens, mask, across_time=True)[0, 1, :, 1:] == 2).all(), 'the same place, one frame further'


def test_copy_nearest__nothing_to_copy_is_an_error():
    tokens = torch.tensor([3, PAD]).view(1, 2, 1, 1)
    with pytest.raises(ValueError, match='no token of the 2x1x1 clip is visible'):
        copy_nearest(tokens, tokens != PAD, across_time=True)


@pytest.mark.parametrize('ratio', [0.15, 0.45])
def test_draw_block_mask__is_near_the_ratio_and_leaves_pad_visible(ratio):
    rng, pad = random.Random(0), torch.zeros(5, 16, 16, dtype=torch.bool)
    pad[4:] = True
    shares = []
    for _ in range(100):
        mask = draw_block_mask((5, 16, 16), ratio, rng, pad)
        assert not (mask & pad).any()
        shares.append(mask.sum().item() / (~pad).sum().item())
    # the largest block has 3 * 8 * 8 of 1024 places, and half of it is the most by which the nearer of two unions misses
    assert max(abs(share - ratio) for share in shares) <= 0.095
    assert sum(shares) / 100 == pytest.approx(ratio, abs=0.01)
    with pytest.raises(ValueError, match='between 0 and 1, got 1.5'):
        draw_block_mask((5, 16, 16), 1.5, rng)
    with pytest.raises(ValueError, match='only PAD'):
        draw_block_mask((5, 16, 16), ratio, rng, torch.ones_like(pad))


def test_scatter_mask__hides_as_many_and_has_no_blocks():
    rng, pad = random.Random(0), torch.zeros(5, 16, 16, dtype=torch.bool)
    pad[0] = True
    blocks = draw_block_mask((5, 16, 16), 0.3, rng, pad)
    scattered = scatter_mask(blocks, rng, pad)
    assert scattered.sum() == blocks.sum() and not (scattered & pad).any()

    def pairs(mask):  # hidden tokens whose right neighbour is hidden, too
        return (mask[:, :, 1:] & mask[:, :, :-1]).sum().item() / mask.sum().item()

    assert pairs(blocks) > 0.6 and pairs(scattered) == pytest.approx(blocks.sum().item() / 1024, abs=0.1)


class Grey:
    """A tokenizer of 4 x 4 pixels of one grey level."""
    vocab_size = 256

    def decode(self, tokens):
        assert tokens.min() >= 0
        return (tokens[:, None] / 255).repeat_interleave(4, 3).repeat_interleave(4, 4).expand(-1, 3, -1, -1, -1)


def smooth_clip() -> torch.Tensor:
    """A still picture of flat areas of similar levels, as videos are smooth in space and still in time."""
    y, x = torch.arange(16.0)[:, None], torch.arange(16.0)
    levels = (4 + 2 * (y / 2).cos() + 2 * (x / 3).cos()).round().long() * 30
    return levels.expand(5, -1, -1).clone()


def test_try_copies__scattered_tokens_are_rebuilt_and_blocks_are_not():
    trials = [try_copies(smooth_clip(), Grey(), [0.15, 0.45], random.Random(seed))[1] for seed in range(8)]
    numbers = {(row['masking'], row['ratio'], row['neighbours']): row for row in mean_numbers(trials)}
    assert len(numbers) == 8
    for ratio in (0.15, 0.45):
        for neighbours in ('spatial', 'spatio-temporal'):
            block, scattered = numbers['block', ratio, neighbours], numbers['i.i.d.', ratio, neighbours]
            assert block['hidden'] == scattered['hidden'] == pytest.approx(ratio, abs=0.03)
            assert scattered['agreement'] > block['agreement'] + 0.05
            assert scattered['psnr_hidden'] > block['psnr_hidden'] + 1
        assert numbers['block', ratio, 'spatio-temporal']['agreement'] > numbers['block', ratio, 'spatial']['agreement']


def test_try_copies__numbers_are_those_of_the_definition():
    tokens = smooth_clip()
    tokens[4] = PAD
    _, trials = try_copies(tokens, Grey(), [0.3], random.Random(1))
    for trial in trials:
        copied = copy_nearest(tokens[None], trial.mask[None], trial.neighbours == 'spatio-temporal')[0]
        error = ((copied - tokens) / 255.).square()
        assert trial.numbers['agreement'] == pytest.approx((error[trial.mask] == 0).double().mean().item())
        assert trial.numbers['hidden'] == pytest.approx(trial.mask.sum().item() / (4 * 256))
        for name, part in dict(psnr_hidden=trial.mask, psnr=tokens != PAD).items():
            assert trial.numbers[name] == pytest.approx(-10 * error[part].mean().log10().item(), rel=1e-4)
        assert not trial.pixels[:, 4].any(), 'no video is black'
    mean = mean_numbers([trials, trials[::-1][::-1]])
    assert mean == [pytest.approx(trial.describe()) for trial in trials]


def test_psnr__equal_pictures_are_finite_and_no_pixels_an_error():
    pictures = torch.rand(1, 3, 2, 4, 4)
    everywhere = torch.ones(1, 1, 2, 4, 4, dtype=torch.bool)
    assert psnr(pictures, pictures, everywhere) == pytest.approx(100)
    assert psnr(torch.zeros_like(pictures), torch.full_like(pictures, 0.1), everywhere) == pytest.approx(20, rel=1e-5)
    with pytest.raises(ValueError, match='no pixel'):
        psnr(pictures, pictures, ~everywhere)


def test_decode_tokens__vectors_are_decoded_as_they_are():
    class Pixels:
        vocab_size = None

        def decode(self, tokens):
            return tokens * 2

    assert decode_tokens(Pixels(), torch.full((1, 1, 1, 1, 2), -1.0)).eq(-2).all()
