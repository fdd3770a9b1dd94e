import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'analysis_tools' / 'plot_curves.py'


def make_run(path: Path, **scalars: float) -> Path:
    log = path / '20260101_000000' / 'vis_data' / 'scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text(''.join(json.dumps({name: value * step for name, value in scalars.items()} | dict(step=step, iter=step)) + '\n'
                           for step in (5, 10)))
    return path


def plot(*words) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, TOOL, *map(str, words)], capture_output=True, text=True)


def test_plot_curves__one_picture_a_key_with_every_run_that_logged_it(tmp_path):
    runs = [make_run(tmp_path / 'a', loss=1.0, psnr=2.0), make_run(tmp_path / 'b', loss=3.0)]
    done = plot(*runs, '--keys', 'loss', 'psnr', '--out', tmp_path / 'out')
    assert done.returncode == 0, done.stderr
    assert f'2 pictures of 2 runs are in {tmp_path / "out"}' in done.stdout
    colours = {}
    for key in ('loss', 'psnr'):
        picture = Image.open(tmp_path / 'out' / f'{key}.png').convert('RGB')
        counts = {colour: count for count, colour in picture.getcolors(1 << 24)}
        colours[key] = [counts.get((0x00, 0x72, 0xB2), 0) > 50, counts.get((0xD5, 0x5E, 0x00), 0) > 50]
    assert colours == dict(loss=[True, True], psnr=[True, False])


@pytest.mark.parametrize(('words', 'message'), [
    (('a', '--keys', 'los'), "none of the runs logged ['los']; they logged ['loss']"), (('nothing',), 'no log')])
def test_plot_curves__what_is_not_there_is_said(tmp_path, words, message):
    make_run(tmp_path / 'a', loss=1.0)
    done = plot(tmp_path / words[0], *words[1:], '--out', tmp_path / 'out')
    assert done.returncode == 1 and message in done.stderr and 'Traceback' not in done.stderr
