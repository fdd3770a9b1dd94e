"""Commands of the quickstart, run as a newcomer does."""
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(command: list[str], folder: Path, **variables: str) -> str:
    own = {name: value for name, value in os.environ.items() if not name.startswith('QUICKSTART')}  # not those of other tests
    environment = own | dict(QUICKSTART=str(folder), VENV=sys.prefix, PYTHON=sys.executable, PYTHONWARNINGS='ignore')
    done = subprocess.run(command, cwd=ROOT, env=environment | variables, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout
