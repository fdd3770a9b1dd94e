"""Plugins are found by folder, by entry point and by name; what is wrong with one is said with its name."""
import os
import sys
import textwrap

import pytest

from ssvideo.registry import MODELS
from ssvideo.utils import plugins
from ssvideo.utils.plugins import VARIABLE, PluginError, config_with_plugins, loaded_plugins, use_plugins

MASKER = """
from ssvideo.models.maskers import Random3DMasker
from ssvideo.registry import MODELS

@MODELS.register_module()
class {name}(Random3DMasker):
    pass
"""


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    """What is loaded here is forgotten at the end."""
    MODELS.import_from_location()
    monkeypatch.setenv(VARIABLE, '')
    monkeypatch.setattr(sys, 'path', [*sys.path])
    for name in ('_loaded', '_errors', '_state'):
        monkeypatch.setattr(plugins, name, dict(getattr(plugins, name)))
    registered, modules = dict(MODELS.module_dict), set(sys.modules)
    yield
    MODELS._module_dict.clear()
    MODELS._module_dict.update(registered)
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def write(folder, text):
    folder.mkdir(parents=True)
    (folder / '__init__.py').write_text(textwrap.dedent(text))
    return folder


def package(folder, name, module):
    """An installed package, as pip leaves it."""
    info = folder / f'{name}-1.5.dist-info'
    info.mkdir(parents=True)
    (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n')
    (info / 'entry_points.txt').write_text(f'[ssvideo.plugins]\nmine = {module}\n')
    sys.path.append(str(folder))
    plugins._state['installed'] = False


def test_folder__is_imported_and_handed_to_other_processes(tmp_path):
    folder = write(tmp_path / 'some_plugin', MASKER.format(name='FolderMasker'))
    use_plugins([folder])
    assert MODELS.build(dict(type='ssvideo.FolderMasker')).mask_ratio == 0.5
    assert os.environ[VARIABLE] == str(folder)
    assert (loaded_plugins()[-1].module, loaded_plugins()[-1].where) == ('some_plugin', str(folder))
    use_plugins([folder])  # once more is no clash


def test_folder__of_the_environment_is_loaded_when_something_is_looked_up(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(write(tmp_path / 'env_plugin', MASKER.format(name='EnvMasker'))))
    assert MODELS.get('ssvideo.EnvMasker').__module__ == 'env_plugin'


def test_folder__in_a_package_has_the_name_that_a_config_gives_it(tmp_path):
    write(tmp_path / 'collection', '')
    use_plugins([write(tmp_path / 'collection/inner', MASKER.format(name='InnerMasker'))])
    (tmp_path / 'config.py').write_text("custom_imports = dict(imports=['ssvideo', 'collection.inner'])")
    config_with_plugins(tmp_path / 'config.py')
    assert MODELS.get('ssvideo.InnerMasker').__module__ == 'collection.inner'


@pytest.mark.parametrize(('text', 'fault'), [
    ('import a_library_that_is_not_there', r"broken_\d \(.*\) cannot be imported: ModuleNotFoundError: No module named "
     r"'a_library_that_is_not_there' \(.*__init__.py, line 1\); install a_library_that_is_not_there"),
    ('\n1 / 0', r'cannot be imported: ZeroDivisionError: division by zero \(.*broken_\d.__init__.py, line 2\); mend it'),
    ('def', r'cannot be imported: SyntaxError: .*__init__.py, line 1\)')], ids=['import', 'error', 'syntax'])
def test_folder__that_cannot_be_imported_is_named(tmp_path, text, fault):
    folder = write(tmp_path / f'broken_{len(text) % 10}', text)
    for _ in range(2):  # the second time says the same
        with pytest.raises(PluginError, match=fault):
            use_plugins([folder])


def test_folder__that_registers_a_name_which_exists_is_named(tmp_path, monkeypatch):
    folder = write(tmp_path / 'clashing', MASKER.format(name='TubeMasker'))
    with pytest.raises(PluginError, match="the plugin clashing .*the name 'TubeMasker' exists in the registry .ssvideo.model.: "
                       'ssvideo.models.maskers.tube.TubeMasker has it, and clashing.TubeMasker wants it; give the class'):
        use_plugins([folder])
    monkeypatch.setenv(VARIABLE, '')
    assert MODELS.get('ssvideo.TubeMasker').__module__ == 'ssvideo.models.maskers.tube'


def test_folder__that_is_no_plugin_is_refused(tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(PluginError, match='is no plugin: expected a folder with an __init__.py'):
        use_plugins([tmp_path / 'empty'])
    with pytest.raises(PluginError, match='cannot be imported as my-plugin: rename the folder'):
        use_plugins([write(tmp_path / 'my-plugin', '')])
    with pytest.raises(PluginError, match='is called json, which Python finds elsewhere'):
        use_plugins([write(tmp_path / 'json', '')])


def test_package__is_loaded_when_something_is_looked_up(tmp_path):
    write(tmp_path / 'site/packaged_masker', MASKER.format(name='PackagedMasker'))
    package(tmp_path / 'site', 'packaged', 'packaged_masker')
    assert MODELS.get('ssvideo.PackagedMasker').__module__ == 'packaged_masker'
    assert loaded_plugins()[-1].where == 'packaged 1.5'


def test_package__that_cannot_be_imported_is_named(tmp_path):
    write(tmp_path / 'site/broken_package', '1 / 0')
    package(tmp_path / 'site', 'bad', 'broken_package')
    with pytest.raises(PluginError, match=r'broken_package \(bad 1.5\) cannot be imported: ZeroDivisionError.*uninstall bad'):
        MODELS.get('ssvideo.TubeMasker')


def test_config__says_why_a_module_cannot_be_imported(tmp_path):
    (tmp_path / 'config.py').write_text("custom_imports = dict(imports=['ssvideo', 'nowhere_plugin'])")
    with pytest.raises(PluginError, match=r'nowhere_plugin \(custom_imports\) cannot be imported: .* its folder with --plugin'):
        config_with_plugins(tmp_path / 'config.py')


def test_registry__says_how_a_plugin_is_loaded():
    with pytest.raises(KeyError, match='give its folder with --plugin DIR'):
        MODELS.get('ssvideo.NobodysMasker')


def test_registry__one_file_under_two_names_is_explained(tmp_path):
    write(tmp_path / 'outer', '')
    write(tmp_path / 'outer/twice', MASKER.format(name='TwiceMasker'))
    sys.path[:0] = [str(tmp_path), str(tmp_path / 'outer')]
    __import__('outer.twice')
    with pytest.raises(ValueError, match='was imported under two names, .* import it by the first name only'):
        __import__('twice')
