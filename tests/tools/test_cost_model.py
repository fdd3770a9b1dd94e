"""``tools/dev/cost_model.py``: its sums, by hand."""
from __future__ import annotations

import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from ssvideo.evaluation.flops import PartCost

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'tools' / 'dev'))
import cost_model  # noqa: E402
from cost_model import Recipe, Work  # noqa: E402

WORK = Work(trained=1e12, again=0.5e12, frozen=2e12, parameters=100e6, clips=1, device_bytes=1e6)
WORDS = ('--peak 100 --utilisation 0.5 --memory-bandwidth 2800 --nvlink 400 --network 40 --overlap 0.5 --clips-per-core 10 '
         '--cores 4')


def step(work, gpus, batch=8, at_once=2, more=''):
    recipe = Recipe('', 800, 1, batch)
    return cost_model.step_of(recipe, work, at_once, gpus, cost_model.parse_args(f'{WORDS} {more}'.split()))


def test_cost_model__arithmetic_and_optimiser():
    found = step(WORK, 1)
    assert found.compute == pytest.approx(8 * (3 + 2) / 50 + 100e6 * 28 / 2800e9)
    assert found.exchange == found.sent == 0 and found.limit == 'arithmetic' and found.seconds == found.compute


def test_cost_model__exchange_is_hidden_behind_the_last_backward_pass():
    within, across = step(WORK, 8), step(WORK, 16, batch=16)
    assert within.sent == pytest.approx(2 * 7 / 8 * 400e6) and within.exchange == 0, '0.0018 s, behind half of 0.04 s'
    assert across.exchange == 0, '0.019 s behind 0.020 s'
    exposed = step(WORK, 16, batch=16, more='--overlap 0.25').exchange
    assert exposed == pytest.approx(2 * 15 / 16 * 400e6 / 40e9 - 0.25 * 2 / 50)


def test_cost_model__decoding_limits():
    found = step(WORK, 1, more='--cores 1 --clips-per-core 5')
    assert found.limit == 'decoding' and found.seconds == pytest.approx(8 / 5)
    assert step(WORK, 1, more='--storage 0.001').limit == 'storage'


def test_cost_model__a_contrast_over_more_pairs_than_are_at_hand_encodes_twice():
    few, enough = (step(Work(**vars(WORK) | dict(num_pairs=4)), gpus) for gpus in (1, 2))
    assert few.compute - step(WORK, 1).compute == pytest.approx(8 * 0.5 / 50)
    assert enough.compute == step(WORK, 2).compute


def test_cost_model__counts_a_recipe(monkeypatch):
    """Tokens of two clips a video; trained parts three times in the table."""
    cfg = Config.fromfile(ROOT / 'configs' / 'vimpac_small.py')
    parts = [PartCost('backbone', 30, 5.0), PartCost('objectives.mlm', 2, 1.0)]
    monkeypatch.setattr(cost_model, 'count', lambda *args: ([('', parts)], []))
    work = cost_model.work_of(cfg)
    assert (work.trained, work.again, work.frozen, work.parameters) == (2 * 2 * 6.0, 2 * 2 * 5.0, 0, 32)
    assert work.token_bytes == 2 * 5 * 16 * 16 * 2 and work.clips == 0 and work.num_pairs == 128
