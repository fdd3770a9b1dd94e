"""What tools/new_plugin.py writes passes its own tests and the kit; it writes whole folders, and over nothing."""
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def load_tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f'tools/{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def plugins(tmp_path_factory):
    """One of each kind, outside the repository."""
    folder, tool = tmp_path_factory.mktemp('plugins'), load_tool('new_plugin')
    for kind in tool.KINDS:
        tool.main([f'fresh_{kind}', '--kind', kind, '--out', str(folder / f'fresh_{kind}')])
    return folder


def test_new_plugin__passes_its_own_tests_and_the_kit(plugins):
    words = [plugins, '-p', 'ssvideo_pytest', '--pyargs', 'ssvideo.contracts', '-k', 'not two_processes and not one_graph']
    words += [word for path in sorted(plugins.iterdir()) if path.is_dir() for word in ('--plugin', path)]
    for kind in ('masker', 'objective', 'backbone'):
        words += ['--component', f'fresh_{kind}.Fresh{kind.capitalize()}']
    words += ['--component', plugins / 'fresh_tokenizer/config.py', '--component', plugins / 'fresh_model/config.py']
    done = subprocess.run([sys.executable, '-W', 'ignore', '-m', 'pytest', '-q', '-p', 'no:cacheprovider', *map(str, words)],
                          capture_output=True, text=True, timeout=1800, env=os.environ | dict(OMP_NUM_THREADS='1'))
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split(' passed')[0].split()[-1]) > 90


def test_new_plugin__writes_whole_folders_and_over_nothing(tmp_path, monkeypatch, capsys):
    tool = load_tool('new_plugin')
    monkeypatch.chdir(tmp_path)
    tool.main(['patch_order', '--kind', 'masker'])
    assert 'python tools/train.py plugins/patch_order/config.py' in capsys.readouterr().out
    names = sorted(path.name for path in (tmp_path / 'plugins/patch_order').iterdir())
    assert names == ['README.md', '__init__.py', 'config.py', 'patch_order.py', 'test_patch_order.py']
    text = (tmp_path / 'plugins/patch_order/patch_order.py').read_text()
    assert 'class PatchOrder(Masker)' in text and 'MyPlugin' not in text
    for name, fault in [('patch_order', 'exists; nothing was written'), ('tube_masker', 'the class TubeMasker exists'),
                        ('json', 'json is a module that Python finds in'), ('PatchOrder', 'small letters'),
                        ('class', 'small letters'), ('2d_order', 'small letters')]:
        with pytest.raises(SystemExit, match=fault):
            tool.main([name, '--kind', 'masker'])
    assert [path.name for path in (tmp_path / 'plugins').iterdir()] == ['patch_order'], 'whole or absent'


def test_list_components__lists_core_and_plugins(capsys):
    load_tool('list_components').main(['--json', '--plugin', str(ROOT / 'plugins/pixel_targets')])
    found = {component['name']: component for component in json.loads(capsys.readouterr().out)}
    tube, pixels = found['ssvideo.TubeMasker'], found['ssvideo.PixelTargets']
    assert (tube['kind'], tube['source'], tube['arguments']['mask_ratio']) == ('masker', 'core', 'float = 0.5')
    assert (pixels['kind'], pixels['source']) == ('tokenizer', 'plugin') and 'pixel_targets' in pixels['where']
    assert pixels['summary'] == 'The pixels of a patch are its target; nothing is learnt, nothing is loaded.'
    kinds = {component['kind'] for component in found.values()}
    assert {'tokenizer', 'masker', 'backbone', 'objective', 'decoder', 'model', 'hook', 'dataset', 'loop', 'transform'} <= kinds
    with pytest.raises(SystemExit, match='no components of the kind mask; there are .*masker'):
        load_tool('list_components').main(['--kind', 'mask'])
