"""Every command of docs/vimpac.md is one that the tools and the configs take."""
import copy
import importlib.util
import os
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

import ssvideo.datasets
import ssvideo.models  # noqa: F401
from ssvideo.registry import DATASETS, MODELS

ROOT = Path(__file__).parents[2]
WORDS = ('PRETRAIN_SET', 'FINETUNE_SET', 'SPLIT', 'VIMPAC_FRAMES', 'VIMPAC_SIZE', 'VIMPAC_CROPS', 'VIMPAC_LAYOUT')
PAGE = (ROOT / 'docs/vimpac.md').read_text()
# stands for python: notes the words of the environment and the command, and does nothing
STUB = f"""#!/bin/sh
printf '%s\\037' {' '.join(f'"{word}=${word}"' for word in WORDS)} "$@" >> "$RECORD"
printf '\\n' >> "$RECORD"
"""


def tool(path: str):
    """A tool, imported."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def page(tmp_path_factory) -> tuple[Path, list[tuple[dict, list[str]]]]:
    """The folder in which the page's commands were run by bash, and what they would have started."""
    folder = tmp_path_factory.mktemp('page')
    (folder / 'bin').mkdir()
    (folder / 'bin' / 'python').write_text(STUB)
    (folder / 'bin' / 'python').chmod(0o755)
    (folder / 'tools').symlink_to(ROOT / 'tools')
    script = 'set -euo pipefail\n' + '\n'.join(re.findall(r'^```bash\n(.*?)^```', PAGE, re.M | re.S))
    environment = {key: value for key, value in os.environ.items() if key not in (*WORDS, 'PYTHON', 'GPUS', 'FINETUNE')}
    environment |= dict(RECORD=str(folder / 'record'), PATH=f'{folder / "bin"}:{os.environ["PATH"]}')
    done = subprocess.run(['bash', '-c', script], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    commands = []
    for line in (folder / 'record').read_text().splitlines():
        parts = line.split('\x1f')[:-1]
        words = dict(part.split('=', 1) for part in parts[:len(WORDS)])
        commands.append(({word: value for word, value in words.items() if value}, parts[len(WORDS):]))
    return folder, commands


def started(command: list[str]) -> tuple[str, tuple[str, ...]]:
    """The tool of this repository that a command starts, and its arguments."""
    place = next(i for i, word in enumerate(command) if '/tools/' in f'/{word}' and word.endswith('.py'))
    arguments = (argument.removeprefix('tools/../') for argument in command[place + 1:])
    return 'tools/' + command[place].rsplit('tools/', 1)[1], tuple(arguments)


def check_keys(config, options: dict) -> None:
    """Each option changes something that the config says, stands below a ``_delete_``, or is an argument it leaves out."""
    removed = [key.removesuffix('_delete_') for key in options if key.endswith('_delete_')]
    optional = ('max_distance', 'norm', 'inputs', 'noisy')  # checked where they are built
    for key in options:
        node = config
        *outer, last = key.split('.')
        if key.endswith('_delete_') or any(key.startswith(prefix) for prefix in removed):
            continue
        for name in outer:
            node = node[name]
        assert last in node or last in optional, f'{key} changes nothing'


@cache
def plain_config(path: str, words: tuple[tuple[str, str], ...]) -> Config:
    """A config with these words in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for word in WORDS:
            patch.delenv(word, raising=False)
        for word, value in words:
            patch.setenv(word, value)
        return Config.fromfile(ROOT / path)


@cache
def check_model(text: str) -> None:
    """Build a model; many commands share one."""
    model = Config.fromstring(text, '.py').model
    with torch.device('meta'):
        MODELS.build(model)


def check_training(plain: Config, options: dict) -> None:
    """The options fit the config, and what comes out can be built."""
    check_keys(plain, options)
    config = copy.deepcopy(plain)
    config.merge_from_dict(options)
    check_model(Config(dict(model=config.model)).pretty_text)
    loader = config.train_dataloader.get('video', config.train_dataloader)
    with pytest.raises(ValueError, match='no finished token store'):  # all its arguments are known
        DATASETS.build(dict(loader.dataset, labels=None))
    assert loader.dataset.clip_len == config.model.backbone.grid[0]
    assert loader.dataset.store.endswith(f'tokens_{8 * config.model.backbone.grid[1]}')


def test_page__its_commands_are_taken_by_tools_and_configs(page):
    commands = {(tuple(words.items()), *started(command)) for words, command in page[1]}
    assert len(commands) > 60
    parsers = {f'tools/{name}.py': tool(f'tools/{name}.py').parse_args for name in ('train', 'extract_tokens')}
    for words, path, arguments in sorted(commands):
        if path == 'tools/train.py':
            args = parsers[path](arguments)
            check_training(plain_config(args.config, words), args.cfg_options)
        elif path == 'tools/extract_tokens.py':
            args = parsers[path](arguments)
            config = plain_config(args.config, words)
            assert args.out == f'{Path(config.dataset.source).parent}/tokens_{config.SIZE}'
        elif path == 'tools/test.py':
            config = plain_config(arguments[0], words)
            work_dir = Path('work_dirs') / Path(arguments[0]).stem / (f'split_{config.SPLIT}' if 'SPLIT' in config else '')
            assert arguments[1] == str(work_dir / f'epoch_{config.max_epochs}.pth')


def test_page__checkpoints_are_those_that_its_commands_write(page):
    written = {'work_dirs/vimpac_small', 'work_dirs/vimpac_large_256'}
    for _, command in page[1]:
        path, arguments = started(command)
        if path == 'tools/train.py' and '--work-dir' in arguments:
            written.add(arguments[arguments.index('--work-dir') + 1])
        for argument in arguments:
            if argument.startswith('model.backbone.init_cfg.checkpoint='):
                assert argument.partition('=')[2].removesuffix('/epoch_10.pth') in written, argument


def test_page__an_ablation_gives_options_of_the_backbone_to_both_runs(page):
    runs = [(words, arguments) for words, command in page[1] for path, arguments in [started(command)]
            if any('vimpac_ablations/T_H_W_pre' in argument for argument in arguments)]
    assert [arguments[0] for _, arguments in runs] == ['configs/vimpac_small.py', 'configs/finetune/vimpac_small_ucf101.py']
    for words, arguments in runs:
        assert words == dict(VIMPAC_FRAMES='5', VIMPAC_SIZE='128', VIMPAC_CROPS='2', VIMPAC_LAYOUT='T,H,W')
        assert 'model.backbone.norm=pre' in arguments


def test_page__names_files_that_exist():
    for path in set(re.findall(r'\b(?:configs|tools|docs)/[\w/]+\.(?:py|sh|md)\b', PAGE)):
        assert (ROOT / path).exists(), path
