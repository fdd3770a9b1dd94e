"""A training becomes one file, which needs no other."""
import pytest
import torch

from ssvideo.apis import load_pretrained
from ssvideo.models.tokenizers.dalle_vae import DalleVAE
from ssvideo.registry import MODELS
from ssvideo.utils.trained_model import trained_model

CONFIG = """
default_scope = 'mmaction'
model = dict(
    type='ssvideo.Pretrainer',
    backbone=dict(type='ssvideo.VideoSwin', embed_dims=8, depths=(1, 1), num_heads=(1, 2), window_size=(2, 2, 2)),
    tokenizer=TOKENIZER,
    maskers=dict(image=dict(type='ssvideo.TubeMasker', min_block=1)),
    objectives=dict(mvm=dict(type='ssvideo.MVM', OPTIONS decoder=dict(type='ssvideo.SwinDecoder', branches=('image',)))))
"""


@pytest.fixture
def training(tmp_path):
    """A tokenizer's file, a config that names it, and a checkpoint."""
    torch.manual_seed(0)
    path = tmp_path / 'tokenizer.safetensors'
    DalleVAE(vocab_size=16, hidden_dims=8).save_tokenizer(path)
    tokenizer = f"dict(type='ssvideo.DalleTokenizer', checkpoint={str(path)!r})"

    def training(tokenizer=tokenizer, options=''):
        text = CONFIG.replace('TOKENIZER', tokenizer).replace('OPTIONS', options)
        (tmp_path / 'recipe.py').write_text(text)
        found: dict = {}
        exec(text, found)
        model = MODELS.build(found['model'])
        torch.save(dict(state_dict=model.state_dict()), tmp_path / 'last.pth')
        return model

    return training, tokenizer


def test_trained_model__keeps_the_vocabulary_instead_of_the_tokenizer(training, tmp_path):
    make, _ = training
    trained = make()
    file = trained_model(tmp_path / 'recipe.py', tmp_path / 'last.pth')
    (tmp_path / 'tokenizer.safetensors').unlink()
    file.save(tmp_path / 'mine.safetensors')
    model = load_pretrained(tmp_path / 'mine.safetensors', report_to=lambda report: None)
    assert file.config['objectives']['mvm']['vocab_size'] == 16
    assert file.source['notes'][1].startswith('tokenizer: left out (DalleTokenizer)')
    assert str(tmp_path) not in str(file.config) + str(file.source)
    assert not model.tokenizers
    expected = trained.state_dict()
    assert model.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize('tokenizer, options', [('dict(ids={})', "target='ids',"), ('dict(ids={}, more={})', "target='more',")])
def test_trained_model__an_objective_that_names_its_tokenizer_keeps_it(training, tmp_path, tokenizer, options):
    make, named = training
    make(tokenizer.format(*[named] * 2), options)
    file = trained_model(tmp_path / 'recipe.py', tmp_path / 'last.pth')
    assert any(note.startswith('tokenizer: kept') for note in file.source['notes'])
    assert 'ids' in file.config['tokenizer']
    file.save(tmp_path / 'mine.safetensors')
    assert 'ids' in load_pretrained(tmp_path / 'mine.safetensors', report_to=lambda report: None).tokenizers


def test_trained_model__another_config_is_refused(training, tmp_path):
    make, _ = training
    make()
    torch.save(dict(state_dict={'backbone.a': torch.zeros(1)}), tmp_path / 'last.pth')
    with pytest.raises(ValueError, match='lacks objectives.mvm.classifier.bias'):
        trained_model(tmp_path / 'recipe.py', tmp_path / 'last.pth')
