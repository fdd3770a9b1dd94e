import pytest
from mmengine.registry import init_default_scope

WORDS = ('PRETRAIN_SET', 'FINETUNE_SET', 'SPLIT', 'VIMPAC_FRAMES', 'VIMPAC_SIZE', 'VIMPAC_CROPS', 'VIMPAC_LAYOUT',
         'BEVT_IMAGES')


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmaction')


@pytest.fixture(autouse=True)
def no_words_of_the_environment(monkeypatch):
    """Recipes as they are: what they read from the environment is not set."""
    for word in WORDS:
        monkeypatch.delenv(word, raising=False)
