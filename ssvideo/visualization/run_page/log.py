"""What the text log of a run tells."""
from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from .content import Section, Table, Text

LINE = re.compile(r'^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d - \S+ - (WARNING|ERROR|CRITICAL) - (.*)$')
FROZEN = re.compile(r'^\S+ is skipped since its requires_grad=False$')
"""What mmengine says of each parameter of a frozen tokenizer: dozens of lines, before which others would not be seen."""
FACT = re.compile(r'^    ([\w. ]+): (.+)$')
MAX_MESSAGES, LAST_LINES = 50, 20


def log_sections(logs: list[Path]) -> list[Section]:
    """The environment as the newest log has it, warnings and errors of all logs, errors first, and the last lines.

    Args:
        logs: in order of time; none gives empty sections.
    """
    messages, environment, last = Section('Messages'), Section('Environment'), []
    counts: Counter[tuple[str, str]] = Counter()
    for log in logs:
        last = log.read_text(errors='replace').splitlines()
        for line in last:
            if found := LINE.match(line):
                counts[found[1], FROZEN.sub('a frozen parameter is left out of the optimiser', found[2])] += 1
    if counts:
        ranked = sorted(counts.most_common(), key=lambda item: item[0][0] == 'WARNING')  # keeps the order of like ones
        rows = [[level, text, f'{count}'] for (level, text), count in ranked[:MAX_MESSAGES]]
        left = f'{len(counts) - MAX_MESSAGES} other messages are in the log.' if len(counts) > MAX_MESSAGES else ''
        messages.items.append(Table(f'Warnings and errors: {sum(counts.values())}', ['level', 'message', 'times'], rows, left,
                                    folded=True))
    if last:
        messages.items.append(Text(f'The last lines of {logs[-1].name}', '\n'.join(last[-LAST_LINES:])))
        facts = [list(found.groups()) for line in _head(last) if (found := FACT.match(line)) and 'compiling' not in line]
        if facts:
            environment.items.append(Table(f'As {logs[-1].name} has it', ['fact', 'value'], facts, folded=True))
    return [messages, environment]


def _head(lines: list[str]) -> list[str]:
    """What mmengine writes before the config."""
    end = next((number for number, line in enumerate(lines) if line.endswith('Config:')), 0)
    return lines[:end]
