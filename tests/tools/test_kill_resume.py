"""A small joint training that is killed, also while it saves, and resumed is the one that nobody interrupted."""
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_kill_resume__five_kills_and_a_stop(tmp_path):
    command = [sys.executable, ROOT / 'tools/dev/kill_resume.py', '--kills', '5', '--stops', '1', '--out', tmp_path / 'runs']
    found = subprocess.run(command, env=os.environ | dict(OMP_NUM_THREADS='1'), capture_output=True, text=True, timeout=900)
    assert found.returncode == 0, found.stdout + found.stderr
    assert '6 ends' in found.stdout and 'nothing differs' in found.stdout
    ended = [line.split('|')[1].strip() for line in found.stdout.splitlines() if line.startswith('| ')][2:]
    assert set(ended) == {'asked to end', 'while saving', 'while training'}
