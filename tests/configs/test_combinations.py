"""What goes with what, by config alone: the ready-made combinations learn, and the page of all pairs is true."""
import importlib.util
import re
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from ssvideo.evaluation.random_batches import random_batch
from ssvideo.models.tokenizers import DalleVAE, PecoVQVAE
from ssvideo.registry import MODELS

ROOT = Path(__file__).parents[2]
COMBINATIONS = sorted(path.stem for path in (ROOT / 'configs' / 'combinations').glob('*.py'))


def tokenizer_files(folder: Path) -> dict[str, str]:
    """Tokenizers of the quickstart's sizes with random weights."""
    files = dict(DalleTokenizer=folder / 'dalle.safetensors', PecoTokenizer=folder / 'peco.safetensors')
    DalleVAE(32, hidden_dims=8, num_blocks=1).save_tokenizer(files['DalleTokenizer'])
    PecoVQVAE(perceptual=None, vocab_size=256, code_dims=4, widths=(4, 8, 8, 8), num_blocks=1,
              codebook_init='random').save_tokenizer(files['PecoTokenizer'])
    return {name: str(path) for name, path in files.items()}


@pytest.mark.parametrize('name', COMBINATIONS)
def test_combinations__learn_by_config_alone(name, tmp_path):
    torch.manual_seed(0)
    config = Config.fromfile(ROOT / 'configs' / 'combinations' / f'{name}.py')
    files = tokenizer_files(tmp_path)
    tokenizers = config.model.get('tokenizer', {})
    for part in [tokenizers] if 'type' in tokenizers else tokenizers.values():
        kind = part.type.removeprefix('ssvideo.')
        if kind in files:
            part.checkpoint = files[kind]
    model = MODELS.build(config.model).train()
    batch = model.data_preprocessor(random_batch(model, config.train_dataloader, batch_size=2))['inputs']
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=3e-3)
    history = []
    for _ in range(6):
        total, logged = model.parse_losses(model(batch, mode='loss'))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        history.append(total.item())
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert history[-1] < history[0], 'the same few clips are learned'
    terms = {'_'.join(key.split('_')[:-1]) for key in logged if key.endswith('_loss')}
    assert len(terms) == sum(len(list(model.objectives_of(stream))) for stream in model.maskers), 'each objective has a loss'


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('combinations', ROOT / 'tools' / 'dev' / 'combinations.py')
    module = sys.modules['combinations'] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_combinations__the_page_is_that_of_the_code(tool):
    found = tool.try_all()
    assert tool.page(found) == (ROOT / 'docs' / 'combinations.md').read_text(), \
        'parts, or what they say, have changed: python tools/dev/combinations.py --out docs/combinations.md'


def test_combinations__every_registered_part_is_in_the_page(tool):
    from ssvideo.models.backbones import Backbone
    from ssvideo.models.maskers import Masker
    from ssvideo.models.objectives import Objective
    from ssvideo.models.tokenizers import Tokenizer
    page = (ROOT / 'docs' / 'combinations.md').read_text()
    names = set(re.findall(r'\w+', page))
    for name, part in MODELS.module_dict.items():
        if part.__module__.split('.')[0] in ('ssvideo', 'plugins') and isinstance(part, type) \
                and issubclass(part, (Backbone, Masker, Objective, Tokenizer)):
            assert name in names, f'{name} ({part.__module__}) is missing from tools/dev/combinations.py'
