"""A package outside the repository adds a masker by its entry point, and it trains."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ssvideo.datasets.token_store import TokenStoreWriter
from ssvideo.registry import MODELS

ROOT = Path(__file__).parents[2]
SETUP = """
from setuptools import setup
setup(name='outside-masker', version='0.3', py_modules=['outside_masker'],
      entry_points={'ssvideo.plugins': ['outside = outside_masker']})
"""
MODULE = '''
import torch
from ssvideo.models.maskers import Masker
from ssvideo.registry import MODELS

@MODELS.register_module()
class OutsideMasker(Masker):
    """Hides one column of cells."""

    def sample(self, grid, rng):
        mask = torch.zeros(grid, dtype=torch.bool)
        mask[:, :, rng.randrange(grid[2])] = True
        return mask
'''
CONFIG = """
_base_ = ['{root}/configs/_base_/runtime.py']
model = dict(
    type='ssvideo.Pretrainer',
    backbone=dict(type='ssvideo.DividedTransformer', grid=(3, 2, 4), vocab_size=16, embed_dims=8, num_layers=1, num_heads=2),
    maskers=dict(video=dict(type='ssvideo.OutsideMasker')), objectives=dict(mlm=dict(type='ssvideo.MLM')))
train_dataloader = dict(video=dict(
    batch_size=2, num_workers=0, sampler=dict(type='ssvideo.DrawSampler', shuffle=True, num_draws=4),
    dataset=dict(type='ssvideo.TokenClips', store='store', clip_len=3)))
train_cfg = dict(type='ssvideo.StreamTrainLoop', max_epochs=1)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1), paramwise_cfg=dict(bypass_duplicate=True))
default_hooks = dict(logger=dict(interval=1))
visualizer = dict(vis_backends=[dict(type='LocalVisBackend')])
"""


def run(*command, **environment):
    done = subprocess.run([sys.executable, '-W', 'ignore', *map(str, command)], capture_output=True, text=True, timeout=900,
                          env=os.environ | environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def site(tmp_path):
    """The folder that the package is installed to, from its wheel."""
    source = tmp_path / 'source'
    source.mkdir()
    (source / 'setup.py').write_text(SETUP)
    (source / 'outside_masker.py').write_text(MODULE)
    pip = ('-m', 'pip', '--quiet', '--disable-pip-version-check')
    run(*pip, 'wheel', '--no-build-isolation', '--no-deps', '--no-index', '--wheel-dir', tmp_path, source)
    (wheel,) = tmp_path.glob('*.whl')
    run(*pip, 'install', '--no-deps', '--no-index', '--target', tmp_path / 'site', wheel)
    return tmp_path / 'site'


def test_package__adds_a_masker_that_trains(tmp_path, site, monkeypatch):
    with pytest.raises(KeyError, match='OutsideMasker is not in the registry'):
        MODELS.get('ssvideo.OutsideMasker')
    monkeypatch.chdir(tmp_path)
    writer = TokenStoreWriter(tmp_path / 'store', dict(tokenizer='', fps=2, size=(16, 32), grid=(2, 4), vocab_size=16))
    for number in range(3):
        writer.write(f'{number}.mp4', torch.randint(16, (5, 2, 4)))
    writer.close()
    (tmp_path / 'config.py').write_text(CONFIG.format(root=ROOT))
    out = run(ROOT / 'tools/train.py', 'config.py', '--work-dir', 'run', PYTHONPATH=str(site))
    assert 'Finished config.py' in out
    log = next((tmp_path / 'run').glob('*/vis_data/scalars.json')).read_text().splitlines()
    assert len(log) == 2 and all('"video_mask_ratio": 0.25' in line for line in log)
    weights = torch.load(tmp_path / 'run/epoch_1.pth', weights_only=True)
    assert weights['meta']['iter'] == 2
