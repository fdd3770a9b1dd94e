from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from ssvideo.datasets import VideoList
from ssvideo.datasets.checked_files import Stamp, note_checked
from ssvideo.datasets.checking import CheckedList, check_video
from ssvideo.utils.safetensors_file import write_safetensors

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / 'tools' / 'data'), str(ROOT / 'tests')]
import check_videos  # noqa: E402
import video_files as files  # noqa: E402

GOOD = ('a/clip 1.mp4', 'a/clip 2.mkv', 'b/4.avi')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Two class folders with three good videos, and every kind of broken one."""
    root = tmp_path_factory.mktemp('videos')
    for name in ('a', 'b'):
        (root / name).mkdir()
    files.write_video(root / GOOD[0], num_frames=20)
    files.write_video(root / GOOD[1], num_frames=10)
    files.write_video(root / GOOD[2], num_frames=30, codec='mpeg4')
    (root / 'a' / 'empty.mp4').touch()
    (root / 'b' / 'text.mp4').write_text('not a video')
    files.write_sound(root / 'b' / 'sound.mp4')
    files.cut(root / GOOD[0], root / 'b' / 'no moov.mp4', 0.5)
    whole = files.write_video(root / 'b' / 'late.mp4', num_frames=40, options={'g': '10', 'bf': '0'}, size=(192, 128))
    data = np.frombuffer(whole.read_bytes(), np.uint8).copy()
    at = data.tobytes().find(b'mdat') + 4
    end = data.tobytes().find(b'moov')
    data[at + (end - at) * 6 // 10:at + (end - at) * 65 // 100] ^= 0x5A  # neither in the first nor in the last pictures
    whole.write_bytes(data.tobytes())
    return root


def run(capsys, *words) -> str:
    check_videos.main([str(word) for word in words])
    return capsys.readouterr().out


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_check_videos__keeps_a_lists_lines_order_and_labels(folder, tmp_path, capsys):
    lines = ['b/text.mp4, 1', 'b/4.avi,1', '', 'a/clip 1.mp4, 0', 'a/empty.mp4,0', 'gone.mp4,1', 'b/late.mp4,1', 'a/clip 1.mp4,1',
             'a/clip 2.mkv,0']
    (tmp_path / 'list.txt').write_text('\n'.join(lines) + '\n')
    said = run(capsys, tmp_path / 'list.txt', '--delimiter', ',', '--data-root', folder, '--workers', 2)
    out = tmp_path / 'list_checked'
    assert said.splitlines()[-1].startswith('4 of 8 videos can be read, 4 cannot')
    assert said.rstrip().endswith(f'are in {out}')
    assert (out / 'clean.txt').read_text().splitlines() == [lines[i] for i in (1, 3, 7, 8)]
    broken = {line['path']: line['reason'] for line in lines_of(out / 'broken_videos.jsonl')}
    assert list(broken) == [str(folder / name) for name in ('b/text.mp4', 'a/empty.mp4', 'gone.mp4', 'b/late.mp4')]
    assert 'No such file' in broken[str(folder / 'gone.mp4')]
    report = (out / 'report.md').read_text()
    assert '| cannot | 4 (50.00 %) |' in report
    assert '80 in all; 10 to 30, median 20' in report
    assert f'| InvalidDataError: Invalid data found when processing input | 3 | {folder}/b/text.mp4 |' in report
    clean = VideoList(out / 'clean.txt', [], delimiter=',', data_root=folder)
    assert [clean.describe(i)['label'] for i in range(4)] == [1, 0, 1, 0]


def test_check_videos__notes_which_files_it_has_decoded_to_the_end(folder, tmp_path, capsys):
    out = tmp_path / 'out'

    def noted() -> list[bool]:
        clean = VideoList(out / 'clean.txt', [], data_root=folder)
        return [clean.describe(i)['checked'].why_not(clean.describe(i)['filename']) is None for i in range(len(clean))]

    run(capsys, folder, '--out', out, '--workers', 1)
    assert noted() == [True] * 3
    clean = (out / 'clean.txt').read_text()
    (out / 'clean.txt').write_text(clean + 'b/late.mp4 1\n')
    assert noted() == [False] * 4
    run(capsys, folder, '--out', out, '--workers', 1)  # all was found before
    assert noted() == [True] * 3
    run(capsys, folder, '--out', out, '--workers', 1, '--decode', 'ends')
    assert noted() == [False] * 4
    (out / 'clean.txt').write_text(clean)
    assert noted() == [False] * 3


def test_check_videos__a_note_that_cannot_be_read_is_an_error(folder, tmp_path):
    (tmp_path / 'clean.txt').write_text(f'{GOOD[0]} 0\n')
    note_checked(tmp_path / 'clean.txt', [Stamp(1, 2)])
    assert VideoList(tmp_path / 'clean.txt', []).describe(0)['checked'] == Stamp(1, 2)
    note = tmp_path / 'clean.txt.checked'
    write_safetensors(note, {}, dict(format='ssvideo.checked/2'))
    with pytest.raises(ValueError, match="checked has the format 'ssvideo.checked/2', expected .* or remove the file"):
        VideoList(tmp_path / 'clean.txt', [])
    note.write_bytes(b'no tensors')
    with pytest.raises(ValueError, match='clean.txt.checked is not a whole safetensors file'):
        VideoList(tmp_path / 'clean.txt', [])


def test_check_videos__makes_a_list_of_a_folder_of_classes(folder, tmp_path, capsys):
    run(capsys, folder, '--out', tmp_path / 'out', '--workers', 1, '--decode', 'all')
    assert (tmp_path / 'out' / 'clean.txt').read_text().splitlines() == [f'{name} {int(name[0] == "b")}' for name in GOOD]
    clean = VideoList(tmp_path / 'out' / 'clean.txt', [], data_root=folder, class_names=str(tmp_path / 'out' / 'classes.txt'))
    assert clean.metainfo['classes'] == ('a', 'b')
    assert all(Path(clean.describe(i)['filename']).is_file() for i in range(len(clean)))
    assert len(lines_of(tmp_path / 'out' / 'broken_videos.jsonl')) == 5


@pytest.mark.parametrize(('decode', 'found'), [('all', False), ('ends', True), ('none', True)])
def test_check_video__sees_as_much_as_it_decodes(folder, decode, found):
    for name, frames in zip(GOOD, (20, 10, 30)):
        assert check_video(str(folder / name), decode)['frames'] == frames
    assert ('frames' in check_video(str(folder / 'b' / 'late.mp4'), decode)) == found
    assert check_video(str(folder / 'b' / 'sound.mp4'), decode) == {'reason': 'it has no video stream'}


def test_check_videos__goes_on_where_it_was_killed(folder, tmp_path, capsys):
    out, before = tmp_path / 'out', CheckedList(folder, tmp_path / 'out')
    with before.recording():
        before.add(0, dict(frames=99, seconds=1.0))  # shows that it is not read again
        before.add(2, dict(reason='seen before'))
    with open(out / 'checked.jsonl', 'a') as file:
        file.write('{"index": 3, "pat')
    assert 'checked before' in run(capsys, folder, '--out', out, '--workers', 1)
    lines = lines_of_whole(out / 'checked.jsonl')
    assert sorted(line['index'] for line in lines[1:]) == list(range(8))
    assert 'seen before' in (out / 'broken_videos.jsonl').read_text()
    assert '99' in (out / 'report.md').read_text()
    run(capsys, folder, '--out', out, '--workers', 1, '--decode', 'none')  # another check: nothing holds
    assert '99' not in (out / 'report.md').read_text()


def lines_of_whole(path: Path) -> list[dict]:
    whole = [line for line in path.read_text().splitlines() if line.endswith('}')]
    return [json.loads(line) for line in whole]


def crash_or_hang(entry: tuple[int, str], decode: str) -> dict:
    """Stands for a decoder."""
    name = Path(entry[1]).name
    if name == 'text.mp4':
        os.kill(os.getpid(), signal.SIGSEGV)
    while name == 'clip 2.mkv':
        pass
    return check_video(entry[1], decode)


def test_check_videos__names_the_file_that_crashes_or_hangs_the_decoder(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(check_videos, 'check_entry', crash_or_hang)
    run(capsys, folder, '--out', tmp_path, '--workers', 2, '--time-limit', 3)
    reasons = {Path(line['path']).name: line['reason'] for line in lines_of(tmp_path / 'broken_videos.jsonl')}
    assert reasons['text.mp4'] == 'it crashed the process that read it (SIGSEGV)'
    assert reasons['clip 2.mkv'] == 'it took longer than 3 s'
    assert len(reasons) == 6


def test_check_videos__says_what_is_wrong_with_the_source(tmp_path):
    for source, message in ((tmp_path / 'none', 'neither a list nor a folder'), (tmp_path, 'holds no video')):
        with pytest.raises(SystemExit, match=message):
            check_videos.main([str(source)])
