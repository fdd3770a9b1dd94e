from __future__ import annotations

import math
import tempfile

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from ssvideo.evaluation.health import LastRows, SeenIds, effective_rank, feature_std


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def slow_effective_rank(features):
    """Roy and Vetterli's definition, by the singular values themselves."""
    values = torch.linalg.svdvals((features - features.mean(0)).double())
    shares = (values / values.sum()).tolist()
    return math.exp(-sum(share * math.log(share) for share in shares if share > 0))


@pytest.mark.parametrize('shape', [(40, 6), (6, 40), (30, 30)])
def test_effective_rank__equals_the_definition(shape):
    features = random(*shape) * torch.logspace(0, -3, shape[1]) + 5
    assert effective_rank(features) == pytest.approx(slow_effective_rank(features), rel=1e-4)


def test_effective_rank__known_cases():
    directions = torch.linalg.qr(random(64, 4))[0]
    assert effective_rank(random(2000, 4) @ directions.t()) == pytest.approx(4, abs=0.02)
    assert effective_rank(random(2000, 1) @ directions[:, :1].t() + 3) == pytest.approx(1, abs=1e-3), 'one direction'
    assert effective_rank(torch.ones(50, 8)) == 0, 'all clips look the same'
    assert math.isnan(effective_rank(torch.full((5, 4), math.nan)))


def test_feature_std__known_cases():
    assert feature_std(random(4000, 64)) == pytest.approx(1, abs=0.02)
    assert feature_std(7 * random(4000, 64)) == pytest.approx(1, abs=0.02), 'length does not matter'
    assert feature_std(torch.ones(50, 8)) == pytest.approx(0, abs=1e-6)
    features = random(30, 5) + 2
    unit = features / features.norm(dim=1, keepdim=True)
    variances = ((unit - unit.mean(0)) ** 2).mean(0)
    assert feature_std(features) == pytest.approx((variances.sqrt().mean() * 5 ** 0.5).item())


def test_last_rows__keeps_the_last():
    last, rows = LastRows(10), torch.arange(46.0).view(23, 2)
    for begin, end in ((0, 4), (4, 8), (8, 11), (11, 23)):
        last.add(rows[begin:end])
        kept = last.rows()
        assert sorted(kept[:, 0].tolist()) == rows[max(end - 10, 0):end, 0].tolist()
    assert not last.rows().requires_grad


def test_seen_ids__begins_anew_at_each_reading():
    seen = SeenIds(8, torch.device('cpu'))
    for ids in ([1, 2, 2], [2, 5], []):
        seen.add(torch.tensor(ids, dtype=torch.long))
    assert seen.take_share() == 3 / 8
    assert seen.take_share() == 0


def one_of_two_processes(rank, folder):
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    seen = SeenIds(8, torch.device('cpu'))
    seen.add(torch.tensor([[0, 1, 2], [2, 5, 6]][rank]))
    torch.save(torch.tensor([seen.take_share(), seen.take_share()]), f'{folder}/{rank}.pth')
    dist.destroy_process_group()


def test_seen_ids__of_any_process():
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(one_of_two_processes, args=(folder,), nprocs=2)
        for rank in range(2):
            assert torch.load(f'{folder}/{rank}.pth', weights_only=True).tolist() == [5 / 8, 0]
