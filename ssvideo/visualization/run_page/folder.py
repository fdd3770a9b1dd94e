"""Read what a run left in its folder. Nothing in it is executed: a config is text, JSON is data."""
from __future__ import annotations

import ast
import json
import re
from datetime import datetime
from pathlib import Path

from ...utils.readable import readable_size
from ..curves import Series, read_scalars
from .charts import chart_of, curve_sections, numbers_section, overlaid_section
from .content import PICTURE_TYPES, VIDEO_TYPES, Note, Run, Section, Table, Text, picture_of
from .log import log_sections
from .tables import json_table, lines_table, percent, steps_table

REPEAT = re.compile(r'^(seed|split)_\d+$')
KINDS = {'Pretrainer': 'Pre-training', 'ClipClassifier': 'Fine-tuning', 'DalleVAE': 'Training of a tokenizer',
         'PecoVQVAE': 'Training of a tokenizer'}
MAX_EMBEDDED = 48_000_000
"""Bytes of pictures and videos of one folder that go into the page."""


def read_run(folder: Path, name: str | None = None) -> Run:
    """Read a run's folder, and the runs in the folders below it.

    Args:
        folder: a ``work_dir``, a token store, or a folder of such, as the quickstart makes it.
        name: by which the page calls it; ``None``: the name of the folder.

    Returns:
        Everything that is known about it; a file that cannot be read is a warning in its place.
    """
    is_repeat = name is not None and REPEAT.match(name)  # whose curves are drawn with the others'
    parts = [read_run(part, part.name) for part in sorted(_runs_below(folder), key=_began)]
    scalars, broken = _scalars(folder)
    repeats = {part.name: _scalars(folder / part.name)[0] for part in parts if REPEAT.match(part.name)}
    if any(repeats.values()):
        curves = [overlaid_section(repeats)]
    else:
        curves = [] if is_repeat else curve_sections(scalars)
    messages, environment = log_sections(sorted(folder.glob('*/*.log')))
    manifest = [json_table(path) for path in folder.glob('manifest.json')]
    sections = [Section('Tokens', manifest), _results(folder), *curves, numbers_section(scalars),
                Section('Logs that cannot be read', broken), _pictures(folder), _skipped(folder), messages, _configs(folder),
                environment, _weights(folder)]
    return Run(name or folder.resolve().name, _kind(folder), _figures(folder, scalars),
               [section for section in sections if section.items], parts)


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run, a token store, or of results."""
    return any(folder.glob('*/vis_data')) or any(folder.glob('*/*.log')) or (folder / 'results.json').is_file() \
        or (folder / 'manifest.json').is_file()


def _runs_below(folder: Path) -> list[Path]:
    return [part for part in folder.iterdir() if part.is_dir() and is_run(part)]


def _began(folder: Path) -> tuple[str, str]:
    """For the order of runs: when they began (logs have their time as a name); repeats keep the order of their numbers."""
    if REPEAT.match(folder.name):
        return '', folder.name.zfill(20)
    logs = sorted(path.parent.name for depth in ('*/*.log', '*/*/*.log') for path in folder.glob(depth))
    written = [f'{datetime.fromtimestamp(path.stat().st_mtime):%Y%m%d_%H%M%S}' for path in folder.glob('*.json')]
    return min(logs or written), folder.name


def _kind(folder: Path) -> str:
    if (folder / 'manifest.json').is_file():
        return 'Token store'
    model = next((found for path in _config_files(folder) if (found := _model_type(path.read_text(errors='replace')))), None)
    if model is None:
        return 'Repeated training' if any(REPEAT.match(part.name) for part in _runs_below(folder)) else 'Several runs'
    return KINDS.get(model.removeprefix('ssvideo.'), f'Training of {model}')


def _model_type(config: str) -> str | None:
    """``type`` in the ``model = dict(...)`` of a config, which is parsed and never run."""
    try:
        statements = ast.parse(config).body
    except (SyntaxError, ValueError):
        return None
    for statement in statements:
        if isinstance(statement, ast.Assign) and [ast.unparse(target) for target in statement.targets] == ['model'] \
                and isinstance(statement.value, ast.Call):
            return next((keyword.value.value for keyword in statement.value.keywords
                         if keyword.arg == 'type' and isinstance(keyword.value, ast.Constant)), None)
    return None


def _scalars(folder: Path) -> tuple[Series, list[Note]]:
    try:
        return {name: points for name, points in read_scalars(folder).items() if points}, []
    except (ValueError, OSError) as error:
        return {}, [Note(f'The scalars cannot be read: {error}', warning=True)]


def _figures(folder: Path, scalars: Series) -> list[tuple[str, str]]:
    found = []
    results = folder / 'results.json'
    if results.is_file():
        try:
            content = json.loads(results.read_text())
            found.append(('top-1', f'{100 * content["mean"]:.1f} ± {100 * content["std"]:.1f} %'))
        except (ValueError, KeyError, TypeError):
            pass  # the table of results says what is wrong
    for name, points in sorted(scalars.items()):
        if chart_of(name) == 'Accuracy':
            found.append((name, percent(points[-1][1])))
    if 'loss' in scalars:
        points = scalars['loss']
        found += [('loss', f'{points[-1][1]:.4g}'), ('steps', f'{points[-1][0]:,}')]
    if 'time' in scalars:
        steps = [0, *(step for step, _ in scalars['time'])]
        seconds = sum(value * (step - before) for (step, value), before in zip(scalars['time'], steps))
        found.append(('time of the steps', f'{seconds / 60:.1f} min'))
    return found


def _results(folder: Path) -> Section:
    section = Section('Results')
    files = [*sorted(folder.glob('*.json')), *sorted(path for path in folder.glob('*/*.json') if path.stem == path.parent.name)]
    section.items += [json_table(path) for path in files if path.name not in ('bad_numbers.json', 'manifest.json')]
    section.items += [Text(path.name, path.read_text(errors='replace')) for path in sorted(folder.glob('*.md'))
                      if not path.with_suffix('.json').is_file()]
    if (folder / 'steps.tsv').is_file():
        section.items.append(steps_table(folder / 'steps.tsv'))
    if (folder / 'bad_numbers.json').is_file():
        section.items += [Note('The run stopped because of numbers that are not finite.', warning=True),
                          json_table(folder / 'bad_numbers.json')]
    return section


def _pictures(folder: Path) -> Section:
    section, left, room = Section('Pictures'), [], MAX_EMBEDDED
    files = sorted([*folder.glob('*'), *(folder / 'pictures').glob('*')])
    for path in [path for path in files if path.suffix.lower() in PICTURE_TYPES | VIDEO_TYPES]:
        if path.stat().st_size > room:
            left.append(path.name)
            continue
        room -= path.stat().st_size
        section.items.append(picture_of(path, path.stem.replace('_', ' '), f'Picture {path.name} of the run'))
    if left:
        section.items.append(Note(f'Left out, as the page would become too large: {", ".join(left)}', warning=True))
    return section


def _skipped(folder: Path) -> Section:
    return Section('Files that were skipped or missing', [lines_table(path) for path in sorted(folder.glob('*.jsonl'))])


def _config_files(folder: Path) -> list[Path]:
    return sorted(folder.glob('*.py')) or sorted(folder.glob('*/vis_data/config.py'))[-1:]


def _configs(folder: Path) -> Section:
    return Section('Config', [Text(path.name, path.read_text(errors='replace')) for path in _config_files(folder)])


def _weights(folder: Path) -> Section:
    found = sorted([*folder.glob('*.pth'), *folder.glob('*.safetensors')])
    rows = [[path.name, readable_size(path.stat().st_size)] for path in found]
    return Section('Weights', [Table('Files', ['file', 'size'], rows, numeric=True)] if rows else [])
