from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from ssvideo.datasets import DrawSampler, draw_sampler


def as_rank(monkeypatch, rank, world_size):
    monkeypatch.setattr(draw_sampler, 'get_dist_info', lambda: (rank, world_size))


def test_draw_sampler__each_pass_is_another_permutation():
    sampler = DrawSampler(range(10), seed=1)
    sampler.start_at(0)
    pairs = list(islice(sampler, 30))
    assert [draw for _, draw in pairs] == list(range(30))
    passes = [[index for index, _ in pairs[i:i + 10]] for i in (0, 10, 20)]
    assert all(sorted(p) == list(range(10)) for p in passes)
    assert len({tuple(p) for p in passes}) == 3
    assert [i for i, _ in DrawSampler(range(10), shuffle=False, seed=1)] == list(range(10))


def test_draw_sampler__ranks_share_the_draws_of_one_process(monkeypatch):
    alone = DrawSampler(range(11), seed=7)
    alone.start_at(0)
    shares = []
    for rank in range(3):
        as_rank(monkeypatch, rank, 3)
        sampler = DrawSampler(range(11), seed=7)
        assert len(sampler) == 4
        sampler.start_at(0)
        shares.append(list(islice(sampler, 8)))
    together = [pair for step in zip(*shares) for pair in step]
    assert together == list(islice(alone, 24))


@pytest.mark.parametrize('position', [0, 3, 17])
def test_draw_sampler__starts_anywhere(position):
    whole, later = DrawSampler(range(7), seed=2), DrawSampler(range(7), seed=2)
    whole.start_at(0)
    later.start_at(position)
    assert list(islice(later, 20)) == list(islice(whole, position, position + 20))


def test_draw_sampler__epochs_are_consecutive_draws():
    sampler, endless = DrawSampler(range(7), seed=2, num_draws=3), DrawSampler(range(7), seed=2)
    endless.start_at(0)
    pairs = []
    for epoch in range(4):
        sampler.set_epoch(epoch)
        pairs += sampler
    assert pairs == list(islice(endless, 12))


def test_draw_sampler__set_epoch_leaves_an_endless_sequence_alone():
    sampler = DrawSampler(range(7), seed=2)
    sampler.start_at(5)
    sampler.set_epoch(3)
    assert next(iter(sampler))[1] == 5


def test_draw_sampler__refuses_nothing_to_draw():
    with pytest.raises(ValueError, match='empty'):
        DrawSampler([], seed=0)
    with pytest.raises(ValueError, match='num_draws'):
        DrawSampler([1], seed=0, num_draws=0)


def test_seeded__restores_all_generators():
    import random

    import torch
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = random.random(), np.random.rand(), torch.rand(1)
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    with draw_sampler.seeded(3, 'video', 5):
        inside = random.random(), np.random.rand(), torch.rand(1)
    assert (random.random(), np.random.rand(), torch.rand(1)) == expected
    with draw_sampler.seeded(3, 'video', 5):
        assert (random.random(), np.random.rand(), torch.rand(1)) == inside
    with draw_sampler.seeded(3, 'video', 6):
        assert random.random() != inside[0]
