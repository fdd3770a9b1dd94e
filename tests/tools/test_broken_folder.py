"""The short form of the proof that broken files are named and nothing else is."""
import os
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / 'tools' / 'dev'))
import broken_folder  # noqa: E402
from broken_folder import KINDS, Video, broken, differences  # noqa: E402


def test_broken_folder__trains_through_lists_each_once_and_swaps_none(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(os, 'environ', os.environ.copy())  # the tool sets what the quickstart's recipes read
    broken_folder.main(['--out', str(tmp_path / 'out'), '--num-videos', '60'])
    said = capsys.readouterr().out
    assert '60 videos, 12 of them broken' in said
    steps = [line.split('|')[1:-1] for line in said.partition('| step |')[2].splitlines() if line.startswith('| ')][1:]
    assert [differing.strip() for *_, differing in steps] == ['none'] * 3
    assert len({listed for _, _, listed, _ in steps}) == 1


def test_differences__are_seen(tmp_path):
    good, bad = Video(Path('good.mp4'), '', True), Video(Path('bad.mp4'), 'text', False)
    assert differences([good, bad], ['bad.mp4']) == ''
    assert differences([good, bad], []) == '1 not listed, as bad.mp4'
    assert differences([good, bad], ['bad.mp4', 'bad.mp4']) == '1 listed more than once, as bad.mp4'
    assert differences([good, bad], ['bad.mp4', 'good.mp4']) == '1 listed, but it decodes, as good.mp4'


@pytest.mark.parametrize('kind', KINDS)
def test_broken__spoils_the_bytes(kind):
    data = bytes(range(256)) * 8
    assert broken(data, kind, random.Random(0)) != data
    assert broken(data, kind, random.Random(0)) == broken(data, kind, random.Random(0))
