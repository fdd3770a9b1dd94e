"""``tools/dev/bevt_step.py`` on a tiny model."""
from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

from ssvideo.models.tokenizers import DalleVAE

ROOT = Path(__file__).parents[2]
VOCAB = 512


@pytest.fixture(scope='module')
def tool():
    sys.path.insert(0, str(ROOT / 'tools' / 'dev'))
    try:
        import bevt_step
    finally:
        sys.path.remove(str(ROOT / 'tools' / 'dev'))
    return bevt_step


@pytest.fixture(autouse=True)
def no_scope_left():
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture
def page(tool, tmp_path):
    """Runs the tool on the joint recipe with a tiny model, and gives its page."""
    DalleVAE(VOCAB, 4, num_blocks=1).save_tokenizer(tmp_path / 'dalle.safetensors')

    def run(*options: str) -> str:
        tool.main(['--config', str(ROOT / 'configs/bevt_swin_b.py'), '--videos', '2', '--images', '4', '--shape', '8', '64', '64',
                   '--out', str(tmp_path / 'out' / 'step.md'), '--cfg-options', 'optim_wrapper.type=OptimWrapper',
                   f'model.tokenizer.checkpoint={tmp_path / "dalle.safetensors"}', 'model.backbone.embed_dims=8',
                   'model.backbone.depths=(1,1,1,1)', 'model.backbone.num_heads=(1,1,2,2)',
                   'model.maskers.video.min_block=2', 'model.maskers.image.min_block=2', *options])
        return (tmp_path / 'out' / 'step.md').read_text()
    return run


def test_bevt_step__tells_time_and_memory_of_each_part_and_sees_only_masked_logits(page):
    text = page()
    rows = {name: float(seconds) for name, seconds in re.findall(r'^\| (\S.*?) \| ([\d.e-]+) \| [\d.]+%', text, re.M)}
    assert list(rows) == ['masks', 'tokenizer, with its view', 'backbone, forward', 'decoder and classifier, forward', 'rest',
                          'backward', 'clipping and optimiser', 'step']
    assert min(rows.values()) > 0 and sum(rows.values()) == pytest.approx(2 * rows['step'], rel=0.01)
    video, image = map(int, re.search(r'Hidden positions: (\d+) of 256 \(video\), (\d+) of 64 \(image\)', text).groups())
    assert f'Rows of the tensors as wide as the vocabulary ({VOCAB}): {sorted({video, image})}; logits never exist' in text
    assert 0 < video < 256 and 0 < image < 64, '2 clips of 8 x 4 x 4 tokens and 4 images of 4 x 4'


def test_logits_watch__notices_logits_of_all_positions(tool):
    classifier, features = torch.nn.Linear(4, 16), torch.rand(10, 4)
    with tool.LogitsWatch(16) as watch:
        classifier(features[:3]).logsumexp(1).sum().backward()
    assert watch.rows == {3}, 'neither the weights nor their gradient count'
    with tool.LogitsWatch(16) as watch:
        classifier(features)[:3].sum().backward()
    assert max(watch.rows) == 10
