"""Every list and folder of data that a recipe names is one that ``tools/data/prepare.py`` makes."""
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from ssvideo.datasets.entries import read_list

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from page_commands import ROOT, load_tool  # noqa: E402
from release_files import WRITERS, write_release  # noqa: E402

CONFIGS = sorted(path.relative_to(ROOT / 'configs').as_posix() for path in (ROOT / 'configs').rglob('*.py')
                 if path.parent.name not in ('quickstart', 'combinations', 'vimpac', 'bevt', '_base_')
                 and path.name != 'peco_small.py')
FINETUNED = ('ucf101', 'hmdb51', 'diving48', 'ssv2', 'kinetics400')
# words of the environment that choose the data
WORDS = dict(PRETRAIN_SET=('howto100m', 'kinetics400', 'kinetics600', 'kinetics700'), FINETUNE_SET=FINETUNED,
             SPLIT=('1', '2', '3'), BEVT_IMAGES=('imagenet', 'frames'))


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    """A folder with ``data/<set>`` of all sets."""
    folder = tmp_path_factory.mktemp('prepared')
    tool = load_tool('tools/data/prepare.py')
    for name in WRITERS:
        tool.main([name, *map(str, write_release(name, folder / 'releases' / name)), '--out', str(folder / 'data' / name)])
    return folder


def paths_of(node) -> set[str]:
    """All strings in a config that name something below ``data/``."""
    if isinstance(node, dict | list | tuple):
        return set().union(*map(paths_of, node.values() if isinstance(node, dict) else node))
    return {node} if isinstance(node, str) and node.startswith('data/') else set()


def sources_of(node) -> list[tuple[str, str]]:
    """List and root of the paths in it, of each data set in a config that reads a list."""
    if not isinstance(node, dict | list | tuple):
        return []
    if isinstance(node, dict) and str(node.get('source')).endswith('.txt'):
        return [(node['source'], node.get('data_root', ''))]
    return sum(map(sources_of, node.values() if isinstance(node, dict) else node), [])


def load(config: str, word: str | None = None, value: str = '') -> dict:
    with pytest.MonkeyPatch.context() as patch:
        for name in WORDS:
            patch.delenv(name, raising=False)
        if word:
            patch.setenv(word, value)
        return Config.fromfile(ROOT / 'configs' / config)._cfg_dict.to_dict()


@pytest.mark.parametrize('config', CONFIGS)
def test_prepare__makes_what_the_configs_read(config, data):
    text = (ROOT / 'configs' / config).read_text()
    choices = [(word, value) for word, values in WORDS.items() if f'${word}:' in text for value in values]
    if config == 'bevt_video_swin_b.py':  # it knows the epochs of these two
        choices = [(word, value) for word, value in choices if value in ('howto100m', 'kinetics400')]
    for choice in choices or [(None, '')]:
        loaded = load(config, *choice)
        named = paths_of(loaded)
        made = {path for path in named if '/tokens_' not in path}  # a token store: tools/extract_tokens.py
        assert named
        assert not {path for path in made if not (data / path).exists()}, choice
        for source, root in sources_of(loaded):
            first = read_list(data / source).path(0)
            assert (data / root / first).is_file(), f'{choice}: {source} is read with data_root={root!r}'


@pytest.mark.parametrize('name', FINETUNED)
def test_prepare__a_token_store_of_videos_txt_has_what_every_list_names(name, data):
    folder = data / 'data' / name
    lists = [set(file.read_text().splitlines()) for pattern in ('train*.txt', 'val*.txt', 'test*.txt')
             for file in folder.glob(pattern)]
    assert len(lists) > 1 and set.union(*lists) == set((folder / 'videos.txt').read_text().splitlines())


def test_prepare__labels_have_as_many_classes_as_the_heads():
    published = load_tool('tools/data/prepare.py').PUBLISHED
    for config in CONFIGS:
        if config.startswith('finetune/'):
            loaded = load(config)
            name = loaded['TRAIN'].split('/')[1]
            assert published[name].num_classes == loaded['model']['num_classes'], config
