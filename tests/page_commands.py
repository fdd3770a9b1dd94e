"""The commands of a page of documentation, run by bash with stand-ins for all programs."""
from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
STAND_INS = ('python', 'pip', 'pytest', 'pre-commit', 'git', 'sbatch', 'tensorboard', 'xdg-open')
"""Programs that are noted and not run."""
REAL = ('env', 'dirname', 'sh', 'cat', 'grep')
"""What scripts need besides; any other program is not found."""
STARTED_SCRIPTS = r'tools/(quickstart|run_tests|make_venv)\.sh'
"""Scripts that are noted and not run; the others start one of the programs."""
COMMAND = r'(?:[A-Z_]+=\S+ )*(?:python (?:-m \w|tools/)|(?:bash )?tools/\w+\.sh|pip install|pytest )'
"""How a command begins where nothing else says that it is one."""


@dataclass(frozen=True)
class Started:
    """A program that a page would have started.

    Args:
        words: of the environment that were asked for, where they are set.
        program: ``tools/NAME`` for a tool of this repository, however it was started; else the program's name.
        arguments: what follows it.
        processes: how many processes torchrun would have started.
    """
    words: tuple[tuple[str, str], ...]
    program: str
    arguments: tuple[str, ...]
    processes: int = 1

    def __str__(self) -> str:
        return ' '.join((self.program, *self.arguments))


def commands_of(page: str) -> list[str]:
    """The commands of a page, a script for each place.

    A place is a block that says ``bash`` or ``sh``; a block without a language, an indented block or code within a sentence that
    begins like a command (:data:`COMMAND`). Within a sentence "..." and optional words in brackets may stand for more.
    """
    fence = r'^```(\w*)\n(.*?)^```'
    blocks = [(language, text) for language, text in re.findall(fence, page, re.M | re.S)]
    rest = re.sub(fence, '', page, flags=re.M | re.S)
    scripts = [text for language, text in blocks if language in ('bash', 'sh') or not language and re.match(COMMAND, text)]
    scripts += [text for text in re.findall(r'(?:^    .+\n?)+', rest, re.M) if re.match(rf'    {COMMAND}', text)]
    spans = [re.sub(r' \.\.\.|\s*\[[^]]*\]', '', ' '.join(text.split())) for text in re.findall(r'`([^`]+)`', rest)]
    return scripts + [text for text in spans if re.match(rf'{COMMAND}.* |{COMMAND}\S+$', text)]


def run_commands(scripts: Sequence[str], folder: Path, words: Sequence[str]) -> list[Started]:
    """Run scripts, one after the other in one shell; nothing is trained.

    Args:
        scripts: of bash.
        folder: an empty one, in which they run, with ``tools`` linked into it.
        words: of the environment that configs read.

    Returns:
        What would have been started, in order.

    Raises:
        AssertionError: if a script fails, as it does at a program that is not known here.
    """
    _make_stand_ins(folder, words)
    unset = (*words, 'PYTHON', 'GPUS', 'SLURM_JOB_ID', 'FINETUNE')
    environment = {key: value for key, value in os.environ.items() if key not in unset}
    environment |= dict(RECORD=str(folder / 'record'), PATH=str(folder / 'bin'))
    script = '\n'.join(['set -euo pipefail', *scripts])
    done = subprocess.run([shutil.which('bash'), '-c', script], cwd=folder, env=environment, capture_output=True, text=True,
                          timeout=1200)
    assert done.returncode == 0, f'{done.stderr}\n{script}'
    record = folder / 'record'
    lines = record.read_text().split('\x1e')[:-1] if record.exists() else []
    return [_started(line.split('\x1f')[:-1], len(words)) for line in lines]


def run_page(page: str, folder: Path, words: Sequence[str]) -> list[tuple[dict[str, str], str, list[str]]]:
    """The tools that the bash blocks of a page would have started, see :func:`run_commands`.

    Returns:
        For each tool of this repository: the ``words`` that are set, its path, its arguments.
    """
    started = run_commands(re.findall(r'^```bash\n(.*?)^```', page, re.M | re.S), folder, words)
    return [(dict(one.words), one.program, list(one.arguments)) for one in started if one.program.startswith('tools/')]


def _make_stand_ins(folder: Path, words: Sequence[str]) -> None:
    (folder / 'bin').mkdir()
    for name in REAL:
        (folder / 'bin' / name).symlink_to(shutil.which(name))
    noted = ' '.join(f'"{word}=${{{word}:-}}"' for word in words)
    note = f"""#!/bin/sh
printf '%s\\037' {noted} "${{0##*/}}" "$@" >> "$RECORD"
printf '\\036' >> "$RECORD"
"""
    for name in STAND_INS:
        (folder / 'bin' / name).write_text(note)
    pattern = STARTED_SCRIPTS.replace('\\', '\\\\')
    (folder / 'bin' / 'bash').write_text(note.replace('#!/bin/sh', f"""#!/bin/sh
echo "${{1:-}}" | grep -qE '{pattern}' || exec {shutil.which('bash')} "$@" """).replace('\\\\', '\\'))
    for path in (folder / 'bin').iterdir():
        if not path.is_symlink():
            path.chmod(0o755)
    (folder / 'tools').symlink_to(ROOT / 'tools')


def _started(parts: list[str], num_words: int) -> Started:
    words = tuple((key, value) for key, value in (part.split('=', 1) for part in parts[:num_words]) if value)
    command = parts[num_words:]
    processes = next((int(part.split('=')[1]) for part in command if part.startswith('--nproc_per_node=')), 1)
    nodes = next((int(part.split('=')[1]) for part in command if part.startswith('--nnodes=')), 1)
    for place, part in enumerate(command):
        if tool := re.search(r'(?:^|/)(tools/[\w/]+\.(?:py|sh))$', part):
            arguments = (argument.removeprefix('tools/../') for argument in command[place + 1:])
            return Started(words, tool.group(1), tuple(arguments), processes * nodes)
    return Started(words, command[0], tuple(command[1:]))


def load_tool(path: str):
    """A tool, imported."""
    spec = importlib.util.spec_from_file_location(f'tool_{Path(path).stem}', ROOT / path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
