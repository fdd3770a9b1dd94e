from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
import torch

from ssvideo.models.backbones import VideoSwin
from ssvideo.models.layers.resize_mask import resize_mask
from ssvideo.models.maskers import BlockMasker, FrameDiffMasker, Random3DMasker, RandomFrameMasker, TubeMasker
from ssvideo.models.maskers.beit_blocks import draw_beit_blocks
from ssvideo.models.maskers.frame_blocks import FrameBlocks

# VIMPAC Table 9, per cent of masked tokens: (frames, size of the token map) -> 4, 5, 6, 7, 8 blocks
TABLE_9 = {(5, 16): (11.9, 14.5, 17.0, 19.4, 21.7), (5, 32): (10.6, 13.1, 15.2, 17.5, 19.5),
           (10, 16): (10.4, 12.8, 15.0, 17.1, 19.2), (10, 32): (9.3, 11.4, 13.4, 15.4, 17.2)}
# BEVT Table 8: masker, shares of the clip, its mean length in frames of 8, share of a covered frame
TABLE_8 = [*((TubeMasker, (0.5, 1.0), 6, ratio) for ratio in (0.4, 0.5, 0.6, 0.7)), (TubeMasker, (0.25, 0.75), 4, 0.5),
           (TubeMasker, (0.75, 1.0), 7, 0.5), (TubeMasker, (1.0, 1.0), 8, 0.5), (FrameDiffMasker, (0.5, 1.0), 6, 0.5),
           (RandomFrameMasker, (0.5, 1.0), 6, 0.5)]
BY_FRAMES = (TubeMasker, FrameDiffMasker, RandomFrameMasker)
CELLS = [(*grid, blocks, share) for grid, row in TABLE_9.items() for blocks, share in zip(range(4, 9), row)]


def draws(masker, grid, num, seed=0):
    rng = random.Random(seed)
    return [masker.sample(grid, rng) for _ in range(num)]


def covered(size, longest):
    """Probability that a uniform interval of length 1..longest covers each place, by enumeration."""
    hits = np.zeros(size)
    for length in range(1, longest + 1):
        for start in range(size - length + 1):
            hits[start:start + length] += 1 / longest / (size - length + 1)
    return hits


def block_probability(grid, num_blocks):
    """Probability of each token to be hidden by a union of independent cuboids."""
    frames, height, width = grid
    one = np.einsum('t,h,w->thw', covered(frames, max(1, frames * 2 // 3)), covered(height, max(1, height // 2)),
                    covered(width, max(1, width // 2)))
    return 1 - (1 - one) ** num_blocks


@pytest.mark.parametrize(('frames', 'size', 'blocks', 'share'), CELLS)
def test_block_masker__table_9(frames, size, blocks, share):
    exact = 100 * block_probability((frames, size, size), blocks).mean()
    assert exact == pytest.approx(share, abs=0.15)  # the law itself
    masks = draws(BlockMasker(num_blocks=blocks), (frames, size, size), 8000)
    drawn = 100 * sum(np.count_nonzero(mask.numpy()) for mask in masks) / masks[0].numel() / len(masks)
    assert drawn == pytest.approx(share, abs=0.3)


@pytest.mark.parametrize('grid', [(5, 6, 4), (1, 8, 8), (1, 1, 1), (2, 3, 1)])
def test_block_masker__probability_of_every_token(grid):
    masks = torch.stack(draws(BlockMasker(num_blocks=3), grid, 4000)).float()
    expected = torch.from_numpy(block_probability(grid, 3)).float()
    deviations = (masks.mean(0) - expected) / (expected * (1 - expected) / 4000).sqrt().clamp(min=1e-6)
    assert deviations.abs().max() < 4.5


def slow_block_mask(grid, num_blocks, rng, noisy):
    """Token by token, from the same draws."""
    mask = torch.zeros(grid, dtype=torch.int8)
    for _ in range(num_blocks):
        bounds = []
        for size, longest in zip(grid, (grid[0] * 2 // 3, grid[1] // 2, grid[2] // 2)):
            length = 1 + int(rng.random() * max(1, longest))
            start = int(rng.random() * (size - length + 1))
            bounds.append((start, start + length))
        kind = 1
        if noisy:
            draw = rng.random()
            kind = 1 if draw < 0.8 else 2 if draw < 0.9 else 3
        for t in range(grid[0]):
            for i in range(grid[1]):
                for j in range(grid[2]):
                    if all(low <= place < high for place, (low, high) in zip((t, i, j), bounds)):
                        mask[t, i, j] = kind
    return mask


@pytest.mark.parametrize('noisy', [False, True])
def test_block_masker__equals_plain_loops(noisy):
    for seed in range(10):
        fast = BlockMasker(num_blocks=6, noisy=noisy).sample((5, 8, 6), random.Random(seed))
        slow = slow_block_mask((5, 8, 6), 6, random.Random(seed), noisy)
        assert fast.dtype == (torch.int8 if noisy else torch.bool)
        assert torch.equal(fast.to(torch.int8), slow)


def test_block_masker__noisy_kinds():
    """With one block a mask, the kinds have BERT's shares; and hide as much as without noise."""
    kinds = Counter(int(mask.max()) for mask in draws(BlockMasker(num_blocks=1, noisy=True), (5, 8, 8), 4000))
    assert kinds[1] / 4000 == pytest.approx(0.8, abs=0.02)
    assert kinds[2] / 4000 == pytest.approx(0.1, abs=0.015)
    assert kinds[3] / 4000 == pytest.approx(0.1, abs=0.015)


def test_beit_blocks__statistics_of_14_by_14():
    rng = random.Random(0)
    masks = np.stack([draw_beit_blocks(14, 14, 0.5, 16, 0.3, rng) for _ in range(3000)])
    counts = masks.sum((1, 2))
    assert counts.mean() == pytest.approx(97.5, abs=0.15)  # BEiT's own generator
    assert 86 <= counts.min() <= 91
    assert counts.max() == 98
    assert masks.any(0).all()
    assert not masks.all(0).any()  # every token is hidden sometimes, none always


def test_beit_blocks__are_blocks():
    """Far fewer hidden cells have a visible right neighbour than if they were scattered (half would)."""
    rng = random.Random(0)
    masks = np.stack([draw_beit_blocks(14, 14, 0.5, 16, 0.3, rng) for _ in range(300)])
    edges = (masks[:, :, :-1] & ~masks[:, :, 1:]).sum() / masks[:, :, :-1].sum()
    assert edges < 0.2


@pytest.mark.parametrize(('height', 'width'), [(4, 4), (2, 2), (1, 6), (7, 7), (3, 9), (16, 16)])
@pytest.mark.parametrize('ratio', [0.4, 0.5, 0.7])
def test_beit_blocks__hide_about_the_ratio_on_any_map(height, width, ratio):
    rng = random.Random(0)
    target = int(ratio * height * width)
    counts = [draw_beit_blocks(height, width, ratio, 16, 0.3, rng).sum() for _ in range(300)]
    assert max(counts) <= target < height * width
    assert np.mean(counts) >= 0.8 * target


def test_beit_blocks__a_single_token_stays_visible():
    assert not draw_beit_blocks(1, 1, 0.5, 16, 0.3, random.Random(0)).any()


def test_tube_masker__mean_share_of_a_bevt_clip():
    masks = draws(TubeMasker(), (8, 14, 14), 3000)
    assert np.mean([mask.numpy().mean() for mask in masks]) == pytest.approx(0.374, abs=0.005)
    for mask in masks[:200]:
        frames = mask.flatten(1).any(1)
        hidden = mask[frames]
        assert (hidden == hidden[0]).all()
        assert 4 <= len(hidden) <= 8


def tube_of(num_frames, shares, wrap, rng):
    return FrameBlocks(0.5, shares, 16, 0.3).draw_tube(num_frames, wrap, rng)


def test_tube_frames__law():
    """Lengths uniform among 4..8 of 8, starts uniform, the run goes round the end."""
    rng = random.Random(0)
    tubes = [tube_of(8, (0.5, 1.0), True, rng) for _ in range(8000)]
    lengths, starts = Counter(map(len, tubes)), Counter(tube[0] for tube in tubes)
    assert sorted(lengths) == [4, 5, 6, 7, 8]
    assert all(abs(count - 1600) < 4 * 36 for count in lengths.values())  # 36: standard deviation of the count
    assert sorted(starts) == list(range(8))
    assert all(abs(count - 1000) < 4 * 30 for count in starts.values())
    assert all(following == (frame + 1) % 8 for tube in tubes for frame, following in zip(tube, tube[1:]))
    assert any(7 in tube and 0 in tube and len(tube) < 8 for tube in tubes)


def test_tube_frames__without_wrapping():
    rng = random.Random(0)
    tubes = [tube_of(8, (0.25, 0.75), False, rng) for _ in range(4000)]
    assert {len(tube) for tube in tubes} == {2, 3, 4, 5, 6}
    assert all(tube == list(range(tube[0], tube[0] + len(tube))) for tube in tubes)
    assert {tube[-1] for tube in tubes} >= {7}


@pytest.mark.parametrize(('frames', 'shares', 'lengths'), [
    (1, (0.5, 1.0), {1}), (5, (0.5, 1.0), {3, 4, 5}), (100, (0.07, 0.07), {7}), (3, (0.4, 0.6), {2}), (8, (1, 1), {8}),
])
def test_tube_frames__whole_numbers_between_the_shares(frames, shares, lengths):
    rng = random.Random(0)
    assert {len(tube_of(frames, shares, True, rng)) for _ in range(300)} == lengths


@pytest.mark.parametrize(('masker', 'shares', 'mean_length', 'ratio'), TABLE_8)
def test_maskers__table_8(masker, shares, mean_length, ratio):
    """BEiT's blocks fall short of the ratio by half a token in the mean, and never exceed it."""
    masks = draws(masker(mask_ratio=ratio, tube_length=shares), (8, 14, 14), 5000)
    drawn = sum(np.count_nonzero(mask.numpy()) for mask in masks) / masks[0].numel() / len(masks)
    assert 100 * drawn == pytest.approx(100 * mean_length / 8 * int(ratio * 196) / 196, abs=0.5)


def test_random_3d_masker__table_8():
    masks = draws(Random3DMasker(), (8, 14, 14), 5000)
    assert 100 * sum(np.count_nonzero(mask.numpy()) for mask in masks) / (5000 * 8 * 196) == pytest.approx(50, abs=0.5)


def test_frame_diff_masker__other_blocks_on_each_frame_of_a_tube():
    runs = Counter()
    for mask in draws(FrameDiffMasker(), (8, 14, 14), 500):
        covered = mask.flatten(1).any(1)
        hidden = [tuple(frame.flatten().tolist()) for frame in mask[covered]]
        assert len(set(hidden)) == len(hidden), 'no two frames have the same mask'
        assert min(map(sum, hidden)) >= 80 and max(map(sum, hidden)) <= 98
        runs[int((covered & ~covered.roll(1)).sum())] += 1
        assert 4 <= len(hidden) <= 8
    assert set(runs) == {0, 1}, 'the covered frames are one run, round the end of the clip or not (0: all frames)'
    assert runs[0] / 500 == pytest.approx(0.2, abs=0.06)


def test_random_frame_masker__the_same_blocks_on_any_frames():
    masks = draws(RandomFrameMasker(), (8, 14, 14), 4000)
    sets = Counter()
    for mask in masks:
        covered = mask.flatten(1).any(1)
        assert (mask[covered] == mask[covered][0]).all()
        sets[tuple(covered.nonzero().flatten().tolist())] += 1
    lengths = Counter()
    for frames, count in sets.items():
        lengths[len(frames)] += count
    assert sorted(lengths) == [4, 5, 6, 7, 8] and all(abs(count - 800) < 4 * 26 for count in lengths.values())
    fours = [count for frames, count in sets.items() if len(frames) == 4]
    assert len(fours) == 70, 'every set of 4 of 8 frames comes up'
    assert max(fours) < 30, 'about 11 times each'


@pytest.mark.parametrize('masker', BY_FRAMES)
def test_maskers__are_the_image_masker_on_one_frame(masker):
    masks = masker(temporal_stride=2)((1, 14, 14), 300, random.Random(0))
    assert masks.flatten(1).sum(1).float().mean().item() == pytest.approx(97.5, abs=0.5)
    assert torch.equal(masks, TubeMasker()((1, 14, 14), 300, random.Random(0))), 'the same draws give the same masks'


STRATEGIES = [BlockMasker, *BY_FRAMES, Random3DMasker]


@pytest.mark.parametrize('strategy', STRATEGIES)
def test_maskers__a_token_is_hidden_exactly_where_its_patch_is(strategy):
    """A patch is 2 frames x 4 x 4 pixels, a token 1 x 16 x 16: pixel by pixel both say the same."""
    mask = strategy(temporal_stride=2)((16, 14, 14), 3, random.Random(0))
    patches = resize_mask(mask, (8, 56, 56))
    by_tokens = mask.repeat_interleave(16, 2).repeat_interleave(16, 3)
    by_patches = patches.repeat_interleave(2, 1).repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert torch.equal(by_tokens, by_patches)
    assert 0 < by_tokens.float().mean() < 1


@pytest.mark.parametrize('strategy', STRATEGIES)
def test_maskers__video_swin_hides_the_pixels_of_hidden_tokens_and_no_others(strategy):
    """What a token's pixels are does not reach the blocks where it is hidden, and does where it is visible."""
    swin = VideoSwin(embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), window_size=(2, 4, 4)).eval()
    embedded = []
    swin.layers[0].register_forward_pre_hook(lambda _, args: embedded.append(args[0]))
    mask = strategy(temporal_stride=2)((4, 4, 4), 1, random.Random(1))
    clip = torch.rand(1, 3, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for t, i, j in mask[0].logical_not().nonzero().tolist() + mask[0].nonzero().tolist():
            changed = clip.clone()
            changed[:, :, t, 16 * i:16 * i + 16, 16 * j:16 * j + 16] += 1 + torch.rand(1, 3, 16, 16)
            swin.forward(torch.cat((clip, changed)), mask.expand(2, -1, -1, -1))
            plain, other = embedded.pop()
            where = ((plain - other).abs().amax(-1) > 0).nonzero()  # patches that show the change
            assert len(where) == (0 if mask[0, t, i, j] else 16)


def test_tube_masker__hides_whole_patches_in_time():
    masks = TubeMasker(temporal_stride=2)((16, 14, 14), 4, random.Random(0))
    assert torch.equal(masks[:, ::2], masks[:, 1::2])


def test_random_3d_masker__hides_each_token_independently():
    masks = torch.stack(draws(Random3DMasker(mask_ratio=0.3), (4, 6, 6), 4000)).float()
    assert ((masks.mean(0) - 0.3).abs() < 4.5 * (0.21 / 4000) ** 0.5).all()
    counts = masks.flatten(1).sum(1)
    assert counts.var().item() == pytest.approx(144 * 0.21, rel=0.1)  # binomial, hence independent
    neighbours = (masks[..., 1:] * masks[..., :-1]).mean().item()
    assert neighbours == pytest.approx(0.09, abs=0.003)


MASKERS = [BlockMasker(), BlockMasker(noisy=True), TubeMasker(), TubeMasker(wrap=False), FrameDiffMasker(), RandomFrameMasker(),
           Random3DMasker()]


@pytest.mark.parametrize('masker', MASKERS, ids=lambda masker: type(masker).__name__)
def test_maskers__repeat_with_their_seed_and_spare_pad(masker):
    pad = torch.zeros(6, 4, 8, 8, dtype=torch.bool)
    pad[2:, 3] = True
    masks = [masker((4, 8, 8), 6, random.Random(seed), pad) for seed in (1, 1, 2)]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert not masks[0][pad].any()
    assert masks[0].any()
    assert len({tuple(mask.flatten().tolist()) for mask in masks[0][:2]}) == 2  # clips differ


@pytest.mark.parametrize(('masker', 'changes', 'message'), [
    (BlockMasker, {'num_blocks': 0}, 'num_blocks'), (TubeMasker, {'mask_ratio': 1.0}, 'mask_ratio'),
    (TubeMasker, {'tube_length': (0.8, 0.5)}, 'tube_length'), (TubeMasker, {'tube_length': (0.5, 1.5)}, 'tube_length'),
    (TubeMasker, {'aspect': 3}, 'aspect'), (TubeMasker, {'min_block': 0}, 'min_block'),
    (FrameDiffMasker, {'mask_ratio': 0}, 'mask_ratio'),
    (RandomFrameMasker, {'tube_length': (0, 1)}, 'tube_length'),
    (Random3DMasker, {'mask_ratio': 0}, 'mask_ratio'), (TubeMasker, {'temporal_stride': 0}, 'temporal_stride'),
])
def test_maskers__wrong_arguments(masker, changes, message):
    with pytest.raises(ValueError, match=message):
        masker(**changes)
