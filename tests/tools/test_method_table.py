"""One table of methods at equal budget, with one method and a second of training."""
from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from tools.dev import method_table

REPO = Path(__file__).resolve().parents[2]
METHOD = 'MaskFeat, ViT'  # reads pixels, and needs neither tokenizer nor store


@pytest.fixture(scope='module')
def quickstart(tmp_path_factory):
    folder = tmp_path_factory.mktemp('quickstart')
    for words in (['make_motion_dataset.py', folder / 'data', '--train', '40', '--val', '20', '--frames', '24', '--fps', '16'],
                  ['make_lists.py', folder / 'data', folder, '--labelled', '20']):
        subprocess.run([sys.executable, REPO / 'tools' / 'data' / words[0], *map(str, words[1:])], check=True)
    return folder


def test_method_table__trains_evaluates_and_keeps_what_is_there(quickstart, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(method_table, 'NEEDED', ('train.txt', 'finetune.txt', 'val.txt', 'classes.txt'))
    monkeypatch.setattr(method_table.os, 'environ', dict(method_table.os.environ))
    words = [str(quickstart), '--methods', METHOD, '--seconds', '3', '--seeds', '0', '1', '--min-steps', '2',
             '--out', str(tmp_path)]
    method_table.main(words)
    found = json.loads((tmp_path / 'table.json').read_text())
    assert list(found) == [METHOD]
    cost, accuracy = found[METHOD]['cost'], found[METHOD]['accuracy']
    assert cost['videos'] >= 32 and cost['memory'] > 1e6 and cost['wall_seconds'] > cost['step_seconds'] > 0
    assert any('attentive' in name for name in accuracy) and any('kNN' in name for name in accuracy)
    assert all(0 <= mean <= 1 and (std is None or math.isfinite(std)) for mean, std in accuracy.values())
    row = (tmp_path / 'table.md').read_text().splitlines()[2]
    assert row.startswith(f'| {METHOD} |') and row in capsys.readouterr().out

    logs = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*.log')}
    assert len(logs) >= 2
    method_table.main(words)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*.log')} == logs, 'nothing is trained again'


def test_method_table__says_what_the_quickstart_has_not_made(tmp_path):
    with pytest.raises(SystemExit, match='lacks train.txt, finetune.txt'):
        method_table.main([str(tmp_path)])
