from __future__ import annotations

import importlib.util
import random
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from ssvideo.datasets.checked_files import Stamp
from ssvideo.datasets.decoders import choice

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tests'))
import video_files as files  # noqa: E402

spec = importlib.util.spec_from_file_location('frame_accuracy', ROOT / 'tools' / 'dev' / 'frame_accuracy.py')
tool = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = tool
spec.loader.exec_module(tool)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp('videos')
    good = files.write_video(root / 'good.mp4', num_frames=60, options={
        'g': '12', 'bf': '2', 'threads': '1', 'x264-params': 'mbtree=0'})
    files.write_video(root / 'turned.mp4', rotation=90)
    files.write_video(root / 'no_index.mpg', codec='mpeg2video', options={'bf': '2'})
    (root / 'broken').mkdir()
    files.cut(good, root / 'broken' / 'cut.mp4', 0.5)
    flipped = bytearray(good.read_bytes())
    for i in random.Random(1).sample(range(len(flipped) // 2, len(flipped) - 4000), 60):
        flipped[i] ^= 255
    (root / 'broken' / 'flipped.mp4').write_bytes(flipped)
    (root / 'notes.md').write_text('not a video')
    return root


def with_decoder(monkeypatch, read, reason=None) -> None:
    """A decoder 'other' beside PyAV, and no third."""
    monkeypatch.setattr(choice, 'OTHERS', {'other': (lambda: None, lambda reader: reason, read)})
    monkeypatch.setattr(choice, 'DECODERS', ('pyav', 'other'))
    monkeypatch.setattr(tool, 'DECODERS', ('pyav', 'other'))


def rows_of(path: Path) -> dict[str, list[str]]:
    lines = [line.strip('|').split('|') for line in path.read_text().splitlines() if line.startswith('|')]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines[2:]}


def test_frame_accuracy__finds_every_decoder_right_or_refusing(folder, tmp_path, monkeypatch, capsys):
    with_decoder(monkeypatch, None, reason='never tried')
    assert tool.main([str(folder), '--out', str(tmp_path / 'table.md')]) == 0
    rows = rows_of(tmp_path / 'table.md')
    assert list(rows) == ['broken/cut.mp4', 'broken/flipped.mp4', 'good.mp4', 'no_index.mpg', 'turned.mp4']
    for name in ('good.mp4', 'no_index.mpg', 'turned.mp4'):
        assert rows[name][1:] == ['identical', 'PyAV: never tried']
    assert rows['good.mp4'][0] == 'h264 yuv420p, 60 frames'
    assert rows['broken/cut.mp4'][1].startswith('refused: InvalidDataError')
    assert 'refused' in rows['broken/flipped.mp4'][1] and 'shows damage' not in rows['broken/flipped.mp4'][1]
    assert '5 files, decoders pyav, other: 0 wrong, 0 show damaged frames' in capsys.readouterr().out


@pytest.mark.parametrize(('lie', 'said'), [
    (lambda frames: frames[1:] + frames[:1], 'WRONG in .* requests: frame .* differs by up to'),
    (lambda frames: [frame // 4 * 4 + 3 for frame in frames], 'WRONG in 13 requests'),
    (lambda frames: [frame[::2] for frame in frames], 'WRONG in 13 requests: frame .* of another size')])
def test_frame_accuracy__ends_with_an_error_where_a_frame_is_another(lie, said, tmp_path, monkeypatch):
    with_decoder(monkeypatch, lambda reader, indices: lie(reader.frames(indices)))
    files.write_video(tmp_path / 'a.mp4', options={'g': '12'})
    assert tool.main([str(tmp_path), '--out', str(tmp_path / 'table.md')]) == 1
    row = rows_of(tmp_path / 'table.md')['a.mp4']
    assert row[1] == 'identical'
    assert re.match(said, row[2])


def test_frame_accuracy__forgives_what_rounding_does(tmp_path, monkeypatch):
    with_decoder(monkeypatch, lambda reader, indices: [frame ^ np.uint8(1) for frame in reader.frames(indices)])
    files.write_video(tmp_path / 'a.mp4', options={'g': '12'})
    assert tool.main([str(tmp_path), '--out', str(tmp_path / 'table.md')]) == 0
    assert rows_of(tmp_path / 'table.md')['a.mp4'][2] == 'identical (colour within 1)'


def test_frame_accuracy__tells_a_decoder_that_shows_damage_where_it_is_used(folder, tmp_path, monkeypatch):
    def conceal(reader, indices):
        frames = tool.reference_of(Path(reader.path)).frames
        return [frames[min(int(i), len(frames) - 1)] for i in indices]

    with_decoder(monkeypatch, conceal)
    assert tool.main([str(folder / 'broken'), '--out', str(tmp_path / 'table.md')]) == 0
    assert re.match('PyAV: it does not tell .*; refused', rows_of(tmp_path / 'table.md')['flipped.mp4'][2])
    monkeypatch.setattr(tool, 'check_video', lambda path: dict(stamp=Stamp.of(path)))  # if the check had seen nothing
    tool.main([str(folder / 'broken'), '--out', str(tmp_path / 'table.md')])
    assert 'shows damage in' in rows_of(tmp_path / 'table.md')['flipped.mp4'][2]
