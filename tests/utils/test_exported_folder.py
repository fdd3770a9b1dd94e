"""An exported folder is whole, is itself, and reaches nothing outside."""
from __future__ import annotations

import json

import pytest
import torch

from ssvideo.models.tokenizers import DalleVAE
from ssvideo.utils.exported_folder import read_exported, read_model, whole_folder, write_exported
from ssvideo.utils.model_file import ModelFile, build_model

BACKBONE = dict(type='ssvideo.DividedTransformer', grid=[2, 2, 2], vocab_size=8, embed_dims=8, num_layers=1, num_heads=2)


@pytest.fixture
def classifier(tmp_path):
    """A model whose tokenizer has a file of its own; its state dict has the tokenizer's weights, too."""
    DalleVAE(8, 4, num_blocks=1).save_tokenizer(tmp_path / 'dalle.safetensors')
    config = dict(type='ssvideo.ClipClassifier', num_classes=2, backbone=BACKBONE, tokenizer=dict(
        type='ssvideo.DalleTokenizer', checkpoint=str(tmp_path / 'dalle.safetensors')))
    return ModelFile(config, build_model(config).state_dict(), dict(file='x.pth', sha256='0'))


@pytest.fixture
def folder(classifier, tmp_path):
    (tmp_path / 'out').mkdir()
    write_exported(tmp_path / 'out', classifier, dict(clip_len=2), ['a', 'b'])
    return tmp_path / 'out'


def test_exported_folder__back_and_forth(classifier, folder, tmp_path):
    (tmp_path / 'dalle.safetensors').unlink()
    found = read_exported(folder)
    assert (found.preprocessing, found.labels, found.source) == (dict(clip_len=2), ['a', 'b'], classifier.source)
    assert found.config['tokenizer']['checkpoint'] == str(folder / 'tokenizer.safetensors')
    weights = read_model(folder).weights
    assert {name for name in classifier.weights if name not in weights} == {
        name for name in classifier.weights if name.startswith('tokenizer.')}, 'once is enough'
    assert all(torch.equal(value, classifier.weights[name]) for name, value in weights.items())


def test_exported_folder__another_tokenizer_than_in_the_checkpoint(classifier, tmp_path):
    (tmp_path / 'out').mkdir()
    DalleVAE(8, 4, num_blocks=1).save_tokenizer(tmp_path / 'dalle.safetensors')  # other weights
    with pytest.raises(ValueError, match='is not that of the file that the config names'):
        write_exported(tmp_path / 'out', classifier, {}, None)
    (tmp_path / 'dalle.safetensors').unlink()
    with pytest.raises(FileNotFoundError, match='dalle.safetensors'):
        write_exported(tmp_path / 'out', classifier, {}, None)


@pytest.mark.parametrize('name', ['model.safetensors', 'tokenizer.safetensors', 'preprocessing.json', 'labels.json'])
def test_exported_folder__not_the_file_that_was_exported(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match=f'{name} is not the file that was exported'):
        read_exported(folder)
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f'lacks {name}'):
        read_exported(folder)


@pytest.mark.parametrize(('change', 'message'), [
    (dict(format='other'), "got the format 'other'"),
    (dict(model=dict(type='os.system', command='true')), 'not registered'),
    (dict(model=dict(type='ssvideo.ClipClassifier', tokenizer=dict(checkpoint='/etc/passwd'))), 'not one of the folder: refused'),
    (dict(model=dict(type='ssvideo.ClipClassifier', tokenizer=dict(checkpoint='../dalle.safetensors'))), 'refused'),
    (dict(sha256=None), 'does not describe a model')])
def test_exported_folder__hostile_or_broken(folder, change, message):
    described = json.loads((folder / 'model.json').read_text())
    (folder / 'model.json').write_text(json.dumps(described | change))
    with pytest.raises(ValueError, match=message):
        build_model(read_model(folder).config)


def test_exported_folder__says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'is no exported model.*tools/export.py'):
        read_exported(tmp_path)
    (tmp_path / 'model.json').write_text('{')
    with pytest.raises(ValueError, match='is no JSON'):
        read_exported(tmp_path)


def test_whole_folder__there_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), whole_folder(tmp_path / 'out') as folder:
        (folder / 'half').touch()
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    with whole_folder(tmp_path / 'out') as folder:
        (folder / 'file').touch()
        assert not (tmp_path / 'out').exists()
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['file']
    with pytest.raises(FileExistsError, match='is there already'), whole_folder(tmp_path / 'out'):
        pass
