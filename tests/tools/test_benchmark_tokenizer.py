from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from ssvideo.models.layers.dalle_blocks import DalleEncoder
from ssvideo.models.tokenizers.dalle_checkpoint import save_dalle
from tests.video_files import write_video

TOOL = Path(__file__).parents[2] / 'tools' / 'analysis_tools' / 'benchmark_tokenizer.py'


@pytest.fixture(scope='module')
def tool():
    sys.path.insert(0, str(TOOL.parent))
    try:
        import benchmark_tokenizer
    finally:
        sys.path.remove(str(TOOL.parent))
    return benchmark_tokenizer


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    torch.manual_seed(0)
    save_dalle(tmp_path / 'dalle.safetensors', DalleEncoder(4, 1, 16))
    return tmp_path / 'dalle.safetensors'


def table_in(text: str) -> list[dict[str, str]]:
    """The rows of the one markdown table of a text."""
    lines = [[cell.strip() for cell in line.strip('| ').split('|')] for line in text.splitlines() if line.startswith('|')]
    return [dict(zip(lines[0], line + [''])) for line in lines[2:]]


def test_benchmark_tokenizer__measures_every_way(tool, checkpoint, tmp_path, capsys):
    report = tmp_path / 'report.md'
    tool.main(['--device', 'cpu', '--size', '32', '--batch', '8', '--repeats', '2', '--checkpoint', str(checkpoint),
               '--markdown', str(report)])
    assert str(report) in capsys.readouterr().out
    encoding, views = (part for part in report.read_text().split('View of 32 px from crops of 64 px'))
    assert str(checkpoint) in encoding and 'random pictures' in encoding
    rows = table_in(encoding)
    assert [row['way'].split(':')[0] for row in rows] == [
        'plain', '+ inference mode', '+ channels last', '+ only frames with a masked token (6 of 8)', '+ bfloat16']
    assert rows[0]['against the first'] == '1.00x'
    assert all(float(row['frames/s']) > 0 for row in rows)
    assert [row['same values'] for row in rows[1:4]] == ['100.000%'] * 3, 'faster ways give the same ids'
    assert float(rows[4]['same values'].rstrip('%')) > 50
    assert [float(row['same values'].rstrip('%')) > 99 for row in table_in(views)[1::2]] == [True, True]


def test_benchmark_tokenizer__takes_turns_and_compares_results(tool):
    order = []

    def way(name: str, values: list[int], **more):
        return tool.Way(name, lambda: order.append(name) or torch.tensor(values), len(values), **more)

    first = way('a', [1, 2, 3, 4])
    second = way('b', [1, 2, 9], like=first)
    tool.measure([first, second], 3, torch.device('cpu'))
    assert order == ['a', 'b'] * 4, 'once to warm up, then three rounds'
    assert len(first.seconds) == len(second.seconds) == 3
    assert first.agreement is None and second.agreement == pytest.approx(2 / 3)


def test_benchmark_tokenizer__ratios_are_of_the_same_round(tool):
    first, second = tool.Way('a', None, 6), tool.Way('b', None, 6)
    first.seconds, second.seconds = [2.0, 20.0, 3.0], [1.0, 10.0, 2.0]  # the second round was disturbed
    rows = tool.rows_of([first, second])
    assert [row[1:3] for row in rows] == [('2', '1.00x'), ('3', '2.00x')]


def test_benchmark_tokenizer__masks_are_bevts(tool):
    # lengths 4 to 8 of 8 pairs of frames, equally often: 6 of 8 on average
    assert tool.share_of_needed_frames() == pytest.approx(0.75, abs=0.01)


def test_benchmark_tokenizer__takes_frames_of_videos(tool, tmp_path):
    for n in range(2):
        write_video(tmp_path / f'{n}.mp4', num_frames=5)
    crops = tool.crops_of(str(tmp_path), 3, 32)
    assert crops.shape == (3, 3, 32, 32) and crops.dtype == torch.uint8
    assert torch.equal(crops, tool.crops_of(str(tmp_path), 3, 32)), 'seeded'


def test_benchmark_tokenizer__errors_are_one_line(tool, tmp_path):
    with pytest.raises(SystemExit, match='error: there is no tokenizer file'):
        tool.main(['--device', 'cpu', '--size', '16', '--batch', '2', '--checkpoint', str(tmp_path / 'missing.safetensors')])
    with pytest.raises(SystemExit):
        tool.main(['--size', '30'])
