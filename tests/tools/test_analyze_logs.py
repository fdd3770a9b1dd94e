import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'analysis_tools' / 'analyze_logs.py'


def make_run(path: Path, **scalars: float) -> Path:
    log = path / '20260101_000000' / 'vis_data' / 'scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text(''.join(json.dumps({name: value * step for name, value in scalars.items()} | dict(step=step, iter=step)) + '\n'
                           for step in (5, 10)))
    return path


def analyze(*words) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, TOOL, *map(str, words)], capture_output=True, text=True)


def drawn(path: Path) -> tuple[int, list[bool]]:
    """Width of a picture, and whether it has lines in the colours of the first and the second run."""
    picture = Image.open(path).convert('RGB')
    counts = {colour: count for count, colour in picture.getcolors(1 << 24)}
    return picture.width, [counts.get(colour, 0) > 50 for colour in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00))]


def test_analyze_logs__figures_of_several_runs_in_one_picture_and_a_table(tmp_path):
    runs = [make_run(tmp_path / 'a', loss=1.0, psnr=2.0, video_x=0.1), make_run(tmp_path / 'b', loss=3.0)]
    done = analyze(*runs, '--keys', 'loss', 'ps*', '--out', tmp_path / 'out' / 'both.png')
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f'2 figures of 2 run(s) are drawn in {tmp_path / "out" / "both.png"}'
    rows = [line.split() for line in done.stdout.splitlines()[1:-1]]
    assert rows == [['loss', 'a', '2', '5', '10', '5', '10', '10'], ['loss', 'b', '2', '15', '30', '15', '30', '10'],
                    ['psnr', 'a', '2', '10', '20', '10', '20', '10']]
    wide, both = drawn(tmp_path / 'out' / 'both.png')
    analyze(*runs, '--keys', 'psnr', '--out', tmp_path / 'one.png')
    narrow, one = drawn(tmp_path / 'one.png')
    assert (both, one) == ([True, True], [True, False]) and wide == 2 * narrow, 'axes for each figure, a colour for each run'


def test_analyze_logs__health_without_keys_beside_the_first_run(tmp_path):
    run = make_run(tmp_path / 'a', loss=1.0, video_mlm_accuracy=0.1, video_effective_rank=3.0, epoch=1.0, video_mask_ratio=0.1)
    done = analyze(run / '20260101_000000' / 'vis_data' / 'scalars.json', run)
    assert done.returncode == 0, done.stderr
    assert '3 figures of 2 run(s)' in done.stdout and 'video_effective_rank' in done.stdout and 'mask_ratio' not in done.stdout
    assert analyze(run).returncode == 0 and (run / 'pictures' / 'logs.png').exists()


def test_analyze_logs__lists_what_there_is(tmp_path):
    done = analyze(make_run(tmp_path / 'a', loss=1.0, video_mask_ratio=0.1), '--list')
    assert [line.split()[0] for line in done.stdout.splitlines()] == ['figure', 'loss', 'video_mask_ratio']
    assert not (tmp_path / 'a' / 'pictures').exists()


@pytest.mark.parametrize(('words', 'message'), [
    (('a', '--keys', 'los'), "none of the runs logged ['los']; they logged ['loss']"), (('nothing',), 'no log')])
def test_analyze_logs__what_is_not_there_is_said(tmp_path, words, message):
    make_run(tmp_path / 'a', loss=1.0)
    done = analyze(tmp_path / words[0], *words[1:], '--out', tmp_path / 'out.png')
    assert done.returncode == 1 and message in done.stderr and 'Traceback' not in done.stderr
