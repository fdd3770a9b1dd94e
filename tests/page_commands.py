"""The commands of a page of documentation, run by bash with a stand-in for python."""
from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run_page(page: str, folder: Path, words: Sequence[str]) -> list[tuple[dict[str, str], str, list[str]]]:
    """Run the bash blocks of a page, one after the other in one shell; nothing is trained.

    Args:
        page: Markdown.
        folder: an empty one, in which the commands run, with ``tools`` linked into it.
        words: of the environment that configs read.

    Returns:
        For each tool of this repository that would have been started: the ``words`` that are set, its path, its arguments.
    """
    (folder / 'bin').mkdir()
    python = folder / 'bin' / 'python'
    noted = ' '.join(f'"{word}=${word}"' for word in words)
    python.write_text(f"""#!/bin/sh
printf '%s\\037' {noted} "$@" >> "$RECORD"
printf '\\n' >> "$RECORD"
""")
    python.chmod(0o755)
    (folder / 'tools').symlink_to(ROOT / 'tools')
    script = 'set -euo pipefail\n' + '\n'.join(re.findall(r'^```bash\n(.*?)^```', page, re.M | re.S))
    environment = {key: value for key, value in os.environ.items() if key not in (*words, 'PYTHON')}
    environment |= dict(RECORD=str(folder / 'record'), PATH=f'{folder / "bin"}:{os.environ["PATH"]}')
    done = subprocess.run(['bash', '-c', script], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [_started(line.split('\x1f')[:-1], len(words)) for line in (folder / 'record').read_text().splitlines()]


def _started(parts: list[str], num_words: int) -> tuple[dict[str, str], str, list[str]]:
    words = dict(part.split('=', 1) for part in parts[:num_words])
    command = parts[num_words:]
    place = next(i for i, part in enumerate(command) if '/tools/' in f'/{part}' and part.endswith('.py'))
    tool = 'tools/' + command[place].rsplit('tools/', 1)[1]
    return {word: value for word, value in words.items() if value}, tool, command[place + 1:]


def load_tool(path: str):
    """A tool, imported."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
