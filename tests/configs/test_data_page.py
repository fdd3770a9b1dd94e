"""What docs/data.md promises: its commands, the lists that they make, and the counts."""
import inspect
import re
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from ssvideo.datasets import ImageList, VideoList
from ssvideo.registry import METRICS

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from page_commands import ROOT, load_tool, run_page  # noqa: E402
from release_files import WRITERS, write_release  # noqa: E402

PAGE = (ROOT / 'docs/data.md').read_text()


@pytest.fixture(scope='module')
def commands(tmp_path_factory):
    return run_page(PAGE, tmp_path_factory.mktemp('page'), ())


def options_of(commands, tool: str) -> list[tuple[Config, dict]]:
    """Config and options of each command of a tool."""
    parsed = [load_tool(tool).parse_args(arguments) for _, started, arguments in commands if started == tool]
    return [(Config.fromfile(ROOT / args.config), args.cfg_options) for args in parsed]


def test_data_page__prepares_every_set(commands):
    parse = load_tool('tools/data/prepare.py').parse_args
    prepared = {parse(arguments).set for _, tool, arguments in commands if tool == 'tools/data/prepare.py'}
    assert prepared == set(WRITERS) - {'kinetics600', 'kinetics700'}  # these two are "likewise"


def test_data_page__tells_the_other_tools_what_they_take(commands):
    parse = load_tool('tools/data/check_videos.py').parse_args
    checked = [parse(arguments) for _, tool, arguments in commands if tool == 'tools/data/check_videos.py']
    assert {str(args.source) for args in checked} == {f'data/{name}/train.txt' for name in ('kinetics400', 'howto100m')}
    assert all(args.data_root == str(args.source.with_name('videos')) for args in checked)
    assert any(tool == 'tools/data/make_lists.py' for _, tool, _ in commands)


@pytest.mark.parametrize('tool', ['tools/train.py', 'tools/test.py'])
def test_data_page__options_are_arguments_of_what_the_configs_build(commands, tool):
    found = options_of(commands, tool)
    assert len(found) >= 2
    for config, options in found:
        for key, value in options.items():
            *outer, last = key.split('.')
            node = config
            for name in outer:
                node = node[name]
            known = {'ssvideo.VideoList': VideoList, 'ssvideo.ImageList': ImageList}.get(node['type'])
            assert last in node or last in inspect.signature(known).parameters, key
            assert not str(value).startswith('ssvideo.') or METRICS.get(value.removeprefix('ssvideo.'))


@pytest.mark.parametrize('name', WRITERS)
def test_data_page__names_the_lists_that_are_written(tmp_path, name):
    row, = (line for line in PAGE.splitlines() if re.match(rf'\| .*`{name}`.* \|.*`train\w*\.txt`', line))
    load_tool('tools/data/prepare.py').main([name, *map(str, write_release(name, tmp_path)), '--out', str(tmp_path / 'out')])
    written = {file.name for file in (tmp_path / 'out').glob('*.txt')} - {'classes.txt', 'missing.txt', 'problems.txt'}
    promised = set(re.findall(r'`(\w+\.txt)`', row))
    if 'splits 2 and 3' in row:
        promised |= {f'{part}_{split}.txt' for part in ('train', 'test') for split in (2, 3)}
    assert written == promised


def test_data_page__counts_are_those_that_the_tool_holds_against():
    published = load_tool('tools/data/prepare.py').PUBLISHED
    counts = [[int(number.replace(',', '')) for number in pair] for pair in re.findall(r'([\d,]+) \+ ([\d,]+)\b', PAGE)]
    for name, known in published.items():
        for who in ('release', 'VIMPAC'):
            values = list(known.counts.get(who, {}).values())
            for pair in zip(values[::2], values[1::2]):
                assert list(pair) in counts, (name, who, pair)
        if known.num_classes:
            assert re.search(rf'`{name}`.*\| .*\b{known.num_classes}\b', PAGE), name


def test_data_page__names_files_that_exist():
    for path in set(re.findall(r'\b(?:configs|tools|docs)/[\w/]+\.(?:py|sh|md)\b', PAGE)):
        assert (ROOT / path).exists(), path
