"""Every command of the README, of docs/ and of the plugins' READMEs is of a known kind, and one that its tool takes.

A page's commands are run by bash, with stand-ins for all programs (``tests/page_commands.py``): loops, functions and variables
count. What a new page needs, if anything, is a rule.
"""
from __future__ import annotations

import argparse
import functools
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from ssvideo import registry
from ssvideo.engine.auto_accumulation import keep_global_batch
from tests.page_commands import ROOT, Started, commands_of, load_tool, run_commands

PAGES = ['README.md', 'CONTRIBUTING.md', *(str(path.relative_to(ROOT)) for pattern in ('docs/**/*.md', 'plugins/*/README.md')
                                           for path in sorted(ROOT.glob(pattern)))]
WORDS = sorted({word for folder in ('configs', 'plugins') for path in (ROOT / folder).rglob('*.py')
                for word in re.findall(r'\{\{\$(\w+)', path.read_text())})
SAVED = {path: code for page in PAGES for path, code in re.findall(
    r'as `(configs/my_\w+\.py)`.*?^```python\n(.*?)^```', (ROOT / page).read_text(), re.M | re.S)}  # that a page says to write
SMALL, FULL, SLURM = 'run small by a test', 'needs data and GPUs', 'needs Slurm'
INSTALL, SUITE, LONG = 'installs', 'starts the suite', 'takes longer than a test'
RULES = [  # what a command begins with, its kind, and the test that runs its tool at small scale; the first rule that fits counts
    (r'(pip|pre-commit) install|python -m pip install|tools/make_venv\.sh', INSTALL, None),
    (r'(python -m )?pytest --pyargs ssvideo\.contracts', SMALL, 'tests/contracts/test_every_component.py'),
    (r'tools/run_tests\.sh|(python -m )?(pytest|ruff)', SUITE, None),
    (r'python -m sphinx', SMALL, 'tests/repository/test_docs_build.py'),
    (r'tensorboard', INSTALL, None),
    (r'tools/slurm_train\.sh', SLURM, 'tests/tools/test_launchers.py'),
    (r'tools/quickstart\.sh|tools/(train|test)\.py (configs/quickstart/|plugins/\w+/config(_small)?\.py)', SMALL,
     'tests/tools/test_quickstart.py'),
    (r'tools/(train|test)\.py configs/tokenizers/peco_small', SMALL, 'tests/configs/test_configs.py'),
    (r'tools/(train|test|extract_tokens|export|evaluate_frozen)\.py (configs/(?!quickstart)|plugins/)', FULL,
     'tests/configs/test_configs.py'),
    (r'tools/(train|test)\.py', SMALL, 'tests/tools/test_quickstart.py'),
    (r'tools/convert_checkpoint\.py', SMALL, 'tests/tools/test_convert_checkpoint.py'),
    (r'tools/analysis_tools/print_config\.py', SMALL, 'tests/tools/test_benchmark.py'),
    (r'tools/data/make_motion_dataset\.py|tools/data/make_lists\.py', SMALL, 'tests/tools/test_quickstart.py'),
    (r'tools/data/prepare\.py', SMALL, 'tests/tools/test_prepare_sets.py'),
    (r'tools/visualizations/(reconstruct|nearest_copy)\.py', SMALL, 'tests/tools/test_visualizations.py'),
    (r'tools/visualizations/(attention|features|embedding|retrieval|report)\.py', SMALL, 'tests/tools/test_model_pictures.py'),
    (r'tools/dev/bevt_ablation\.py', LONG, None),
]


@pytest.fixture(scope='module')
def started(tmp_path_factory) -> dict[str, list[Started]]:
    """What each page would have started."""
    return {page: run_commands(commands_of((ROOT / page).read_text()), tmp_path_factory.mktemp('page'), WORDS) for page in PAGES}


def new_plugins(text: str) -> tuple[str, ...]:
    """Folders that commands of a page write before others name them."""
    return tuple(f'plugins/{name}/' for name in re.findall(r'tools/new_plugin\.py (\w+)', text))


def kind_of(command: Started) -> tuple[str, str | None]:
    """Kind and test of a command: by the first rule that fits, else by the test of its tool, best one that has its name."""
    for pattern, kind, test in RULES:
        if re.match(pattern, str(command)):
            return kind, test
    stem = Path(command.program).stem
    own = ROOT / f'tests/tools/test_{stem}.py'
    tests = [path for path in (own, *sorted(own.parent.glob('test_*.py')))
             if path.exists() and re.search(rf'\b{stem}\b', path.read_text())]
    if command.program.endswith('.py') and tests:
        return SMALL, str(tests[0].relative_to(ROOT))
    if command.program.startswith('tools/dev/') and (ROOT / command.program).exists():
        return LONG, None  # that is what the folder is for
    raise AssertionError(f'no rule for "{command}": give it one in RULES, or its tool a tests/tools/test_{stem}.py')


def parsed(command: Started, only: bool = False) -> argparse.Namespace:
    """The arguments as the tool's own parser takes them; ``only`` leaves out what the tool looks at besides, such as files.

    Raises:
        AssertionError: with the parser's words, if it does not.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [command.program, *command.arguments])
        patch.setattr(argparse.ArgumentParser, 'parse_args', functools.partialmethod(_parse, only))
        patch.setattr(argparse.ArgumentParser, 'error', _say)
        tool = _tool(command.program)
        try:
            return getattr(tool, 'parse_args', tool.main)()
        except _Parsed as found:
            return found.args[0]


class _Parsed(Exception):
    """Carries what was parsed out of a tool's ``main``, before it does anything."""


def _parse(parser: argparse.ArgumentParser, only: bool, args=None, namespace=None) -> argparse.Namespace:
    found, left = parser.parse_known_args(args, namespace)
    if left:
        parser.error(f'unrecognized arguments: {" ".join(left)}')
    callers = {sys._getframe(depth).f_code.co_name for depth in (1, 2)}  # partialmethod may lie between
    if only or 'parse_args' not in callers:
        raise _Parsed(found)
    return found


def _say(parser: argparse.ArgumentParser, message: str) -> None:
    raise AssertionError(f'{" ".join(sys.argv)}: {message}')


@functools.cache
def _tool(path: str):
    return load_tool(path)


@functools.cache
def _config(path: str, words: tuple[tuple[str, str], ...]) -> Config:
    with pytest.MonkeyPatch.context() as patch:
        for word in WORDS:
            patch.delenv(word, raising=False)
        for word, value in words:
            patch.setenv(word, value)
        if path not in SAVED:
            return Config.fromfile(ROOT / path)
        with tempfile.TemporaryDirectory() as folder:  # in the place of configs/, with what else is there
            for entry in (ROOT / 'configs').iterdir():
                (Path(folder) / entry.name).symlink_to(entry)
            (Path(folder) / Path(path).name).write_text(SAVED[path])
            return Config.fromfile(Path(folder) / Path(path).name)


def check_options(config: Config, options: dict) -> None:
    """The place that each option changes is one that the config has; what is below a replaced part is the new part's."""
    replaced = [key.rsplit('.', 1)[0] + '.' for key in options if key.rsplit('.', 1)[-1] in ('_delete_', 'type')]
    for key in options:
        node = config
        for name in key.split('.')[:-1]:
            if key.startswith(tuple(replaced)):
                break
            node = node[int(name) if isinstance(node, (list, tuple)) else name]


@pytest.mark.parametrize('page', PAGES)
def test_commands__are_of_a_known_kind_and_what_their_tools_take(started, page):
    new = new_plugins(' '.join(map(str, started[page])))
    for command in started[page]:
        kind, _ = kind_of(command)
        if not command.program.startswith('tools/') or kind in (INSTALL, SUITE):
            continue
        if kind == SLURM:
            command = Started(command.words, 'tools/train.py', command.arguments)
        if not command.program.endswith('.py'):
            continue
        args = vars(parsed(command, only=kind == LONG))
        for word in ('config', 'against'):
            if str(args.get(word)).startswith(('configs/', 'plugins/')) and not str(args[word]).startswith(new):
                check_options(_config(args[word], command.words), args.get('cfg_options') or {})


def test_commands__name_tests_that_exist_and_run_the_tool(started):
    kinds = {(command.program, *kind_of(command)) for commands in started.values() for command in commands}
    for program, kind, test in kinds:
        if kind in (SMALL, SLURM, FULL):
            assert test and (ROOT / test).exists(), f'{program}: {test}'
        if kind in (SMALL, SLURM) and program.startswith('tools/'):
            assert re.search(rf'\b{Path(program).stem}\b', (ROOT / test).read_text()) or program in quickstart_tools(), \
                f'{test} does not run {program}'
    counts = Counter(kind_of(command)[0] for commands in started.values() for command in commands)
    print(f'{sum(counts.values())} commands on {sum(map(bool, started.values()))} pages: '
          + ', '.join(f'{number} {kind}' for kind, number in counts.most_common()))
    assert counts[SMALL] > 30 and counts[FULL] > 250


@functools.cache
def quickstart_tools() -> set[str]:
    """What the quickstart runs, of which tests/tools/test_quickstart.py runs all."""
    return set(re.findall(r'tools/[\w/]+\.py', (ROOT / 'tools/quickstart.sh').read_text()))


@pytest.mark.parametrize(('text', 'told'), [
    ('`python tools/train.py configs/bevt_swin_b.py --apm`', 'unrecognized arguments: --apm'),
    ('```bash\ntools/dist_train.sh configs/bevt_swin_b.py 8 --cfg-options no_such.place=1\n```', 'no_such'),
    ('```bash\ntools/dist_test.sh configs/bevt_swin_b.py 8\n```', 'usage'),
    ('`python tools/test.py CONFIG CHECKPOINT --dump predictions.json`', 'must end in .pkl'),
    ('```bash\nrm -rf build\n```', 'rm'),
    ('    python tools/data/make_coffee.py', 'make_coffee'),
    ('```\npython tools/token_store.py repair data/tokens\n```', 'invalid choice')])
def test_commands__a_wrong_one_is_found(tmp_path, text, told):
    with pytest.raises((AssertionError, KeyError, AttributeError), match=told):
        (command,) = run_commands(commands_of(text), tmp_path, WORDS)
        test_commands__are_of_a_known_kind_and_what_their_tools_take({'page': [command]}, 'page')


@pytest.mark.parametrize('path', SAVED)
@pytest.mark.parametrize('processes', ['1', '8'])
def test_pages__a_config_to_save_is_a_recipe(path, processes, monkeypatch):
    config = _config(path, ()).copy()
    assert {one.end for one in config.param_scheduler} == {config.param_scheduler[0].end, config.train_cfg.max_epochs}
    monkeypatch.setenv('WORLD_SIZE', processes)
    config.launcher = 'pytorch'
    assert 'the learning rate stays' in keep_global_batch(config)
    config.model.update(tokenizer=None)  # its file is not here
    config.model.objectives.mvm.vocab_size = 8192
    with torch.device('meta'):
        assert registry.MODELS.build(config.model).backbone.channels


def test_pages__name_components_and_files_that_exist():
    known = {name for value in vars(registry).values() if isinstance(value, registry.Registry)
             for name in (value.import_from_location(), *value.module_dict) if name}
    texts = {page: (ROOT / page).read_text() for page in PAGES}
    plugins = [*(ROOT / 'plugins').rglob('*.py'), *(ROOT / 'tests').rglob('*.py')]
    known |= {name for text in (*texts.values(), *(path.read_text() for path in plugins))
              for name in re.findall(r'register_module\(\)\s+class (\w+)', text)}
    for page, text in texts.items():
        assert not set(re.findall(r'\bssvideo\.([A-Z]\w*)', text)) - known - {'X', 'Name'}, page
        for path in re.findall(r'(?<![\w/])(?:configs|tools|plugins|docs|tests)/[\w/]+\.(?:py|sh|md)\b', text):
            made = path in SAVED or path.startswith(new_plugins(text))
            assert made or (ROOT / path).exists(), f'{page} names {path}'


def test_pages__python_can_be_parsed_and_imports_what_there_is():
    for page in PAGES:
        for code in re.findall(r'^```python\n(.*?)^```', (ROOT / page).read_text(), re.M | re.S):
            compile(code, page, 'exec')
            imports = '\n'.join(re.findall(r'^from ssvideo[\w.]* import [^(\n]+$|^import ssvideo[\w.]*$', code, re.M))
            exec(imports, {})


def test_troubleshooting__quotes_messages_that_there_are():
    sources = ''.join(path.read_text() for path in (ROOT / 'ssvideo').rglob('*.py'))
    quoted = re.findall(r'^\| `([^`]+)` \|', (ROOT / 'docs/troubleshooting.md').read_text(), re.M)
    assert len(quoted) > 10
    assert not [message for message in quoted if message not in sources]
