"""``tools/analysis_tools/memory_budget.py`` and the counter that it uses."""
from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

from ssvideo.evaluation.live_memory import LOGITS, MASKS, REST, LiveMemory, kind_by_shape

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'tools' / 'analysis_tools'))
import memory_budget  # noqa: E402

VIMPAC = """
default_scope = 'mmaction'
model = dict(
    type='ssvideo.Pretrainer', backbone=dict(
        type='ssvideo.DividedTransformer', grid=(3, 8, 8), vocab_size=40, embed_dims=32, num_layers=2, num_heads=4, dropout=0.0),
    maskers=dict(video=dict(type='ssvideo.BlockMasker', num_blocks=5)), objectives=dict(mlm=dict(type='ssvideo.MLM')))
train_dataloader = dict(video=dict(batch_size=4, dataset=dict(type='ssvideo.TokenClips', store='nowhere', num_clips=2)))
optim_wrapper = dict(type='ssvideo.GuardedOptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, fused=True),
                     paramwise_cfg=dict(bypass_duplicate=True))
"""


@pytest.fixture(autouse=True)
def no_scope_left():
    yield
    DefaultScope._instance_dict.clear()


def test_live_memory__counts_what_lives_by_kind():
    kinds = kind_by_shape({40}, {torch.Size([40, 40])})
    with LiveMemory(kinds) as live:
        first = torch.zeros(10, 40)             # 1600 bytes of logits
        second = torch.zeros(1000)              # 4000
        view = first.view(40, 10)               # none
        mask = torch.zeros(100, dtype=torch.bool)
        del second                              # the most was 5700
        again = torch.zeros(500), torch.zeros(40, 40)[0]  # 2000, and the whole of which a row is kept, 6400
    assert (live.peak, live.at_peak) == (1600 + 100 + 2000 + 6400, {LOGITS: 1600, MASKS: 100, REST: 8400})
    assert live.largest == {LOGITS: 1600, MASKS: 100, REST: 8400}
    assert view.shape == (40, 10) and mask.nbytes == 100 and again


def test_memory_budget__a_line_that_larger_batches_lie_on(tmp_path, capsys):
    path = tmp_path / 'vimpac.py'
    path.write_text(VIMPAC)
    memory_budget.main([str(path), '--batch', '2', '6', '--gib', '1', '2', '--spare', '0', '--out', str(tmp_path / 'table.md')])
    line = (tmp_path / 'table.md').read_text().splitlines()[2]
    cells = [cell.strip() for cell in line.strip('| ').split('|')]
    assert cells[:2] == ['vimpac.py', '6 x 2 x 3 x 8 x 8 tokens video'] and 'The table is in' in capsys.readouterr().out
    one, two = int(cells[5]), int(cells[6])
    assert two > 2 * one - 2 and one > 50
    assert float(cells[7].rstrip('%')) < 10 and float(cells[8].rstrip('%')) < 1, 'neither logits nor masks are the peak'

    memory_budget.main([str(path), '--batch', '2', '6', '--device', 'meta', '--out', str(tmp_path / 'meta.md')])
    nothing_computed = (tmp_path / 'meta.md').read_text().splitlines()[2].split('|')
    assert float(nothing_computed[5]) >= float(cells[4]), 'an upper bound of the slope'

    cfg = memory_budget.Config.fromfile(path)
    peaks = [memory_budget.measure(cfg, size, None, torch.device('cpu')) for size in (2, 6, 14)]
    each = (peaks[1].step - peaks[0].step) / 4
    assert peaks[2].step == pytest.approx(peaks[1].step + 8 * each, rel=0.05)


def test_memory_budget__says_what_it_needs(tmp_path):
    (tmp_path / 'empty.py').write_text('model = dict()\n')
    with pytest.raises(SystemExit, match='has no model, train_dataloader, optim_wrapper: give the config of a training'):
        memory_budget.main([str(tmp_path / 'empty.py')])
