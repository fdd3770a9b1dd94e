"""What the README and the pages show in Python works as it stands there."""
from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch

from ssvideo.contracts import check_masker
from ssvideo.models.tokenizers import DalleVAE
from ssvideo.registry import MODELS
from ssvideo.utils.exported_folder import write_exported
from ssvideo.utils.model_file import ModelFile
from tests.video_files import write_video

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
SNIPPETS = [pytest.param(code, id=f'{page.stem}-{re.search(r"import ([a-z_]+)", code).group(1)}') for page in PAGES
            for code in re.findall(r'^```python\n(from ssvideo\.apis import .*?)^```', page.read_text(), re.M | re.S)]
SWIN = dict(type='VideoSwin', patch_size=(2, 4, 4), embed_dims=8, depths=(1, 1), num_heads=(1, 2), window_size=(2, 4, 4))
PIXELS = dict(type='ClipPreprocessor', mean=[127.5] * 3, std=[64.0] * 3)
CLASSIFIER = dict(type='ClipClassifier', backbone=SWIN, data_preprocessor=PIXELS, num_classes=3, average_clips='prob')
VIMPAC = dict(
    type='Pretrainer', backbone=dict(type='DividedTransformer', grid=(5, 16, 16), vocab_size=16, embed_dims=24, num_layers=1,
                                     num_heads=4),
    maskers=dict(video=dict(type='BlockMasker', num_blocks=5)), objectives=dict(mlm=dict(type='MLM')))
VIEWS = [
    dict(type='ssvideo.SampleClips', clip_len=4, frame_interval=3, num_clips=2, test_mode=True), dict(type='ssvideo.DecodeClips'),
    dict(type='Resize', scale=(-1, 32)), dict(type='CenterCrop', crop_size=32), dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')]


def model_file(config: dict) -> ModelFile:
    torch.manual_seed(0)
    return ModelFile(config, MODELS.build(config).state_dict(), dict(file='last.pth', sha256='0' * 64))


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """The files that the snippets name, small."""
    folder = tmp_path_factory.mktemp('snippets')
    write_video(folder / 'video.mp4', num_frames=75)  # 3 s
    (folder / 'checkpoints').mkdir()
    (folder / 'my_model').mkdir()
    DalleVAE(16, 4, num_blocks=1).save_tokenizer(folder / 'checkpoints' / 'dalle.safetensors')
    model_file(CLASSIFIER).save(folder / 'checkpoints' / 'bevt.safetensors')
    model_file(VIMPAC).save(folder / 'checkpoints' / 'vimpac.safetensors')
    write_exported(folder / 'my_model', model_file(CLASSIFIER), dict(clip_len=4, size=[32, 32], pipeline=VIEWS), ['a', 'b', 'c'])
    return folder


@pytest.mark.parametrize('code', SNIPPETS)
def test_readme__its_snippets_run(folder, monkeypatch, code):
    monkeypatch.chdir(folder)
    names = {}
    exec(code, names)
    if 'tokens' in names:
        assert names['tokens'].shape == (6, 16, 16) and names['tokens'].max() < 16
    if 'exported' in names:
        scores = names['exported'].predict('video.mp4')
        assert set(scores) == {'a', 'b', 'c'} and sum(scores.values()) == pytest.approx(1)
        assert names.get('scores', scores) == pytest.approx(scores)
        assert names['exported'].features('video.mp4').shape == (2, 16)
    if 'extract_features' in names:
        assert names['found'].starts == pytest.approx([0, 1]) and names['found'].summary.shape == (2, 16)
    if 'reconstruct' in names:
        measured = names['found'].measure(0)
        assert 0 < measured['hidden'] < 1 and 0 <= measured['accuracy'] <= 1 and 'copy_accuracy' in measured
        assert 'model' in names['found'].rows(0)


def test_readme__shows_each_api():
    shown = ''.join(param.values[0] for param in SNIPPETS)
    names = ('load_pretrained', 'extract_features', 'tokenize', 'reconstruct', 'open_exported')
    assert not [name for name in names if f'{name}(' not in shown]


@pytest.mark.parametrize('page', ['README.md', 'docs/plugins.md'])
def test_readme__its_plugin_fulfils_the_contract(tmp_path, monkeypatch, page):
    (code,) = re.findall(r'```python\n(import torch\n.*?)```', (ROOT / page).read_text(), re.S)
    (tmp_path / 'my_masker.py').write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, 'my_masker', raising=False)
    try:
        __import__('my_masker')
        check_masker(MODELS.build(dict(type='ssvideo.CheckerboardMasker', temporal_stride=2)))
    finally:
        MODELS.module_dict.pop('CheckerboardMasker', None)


def test_readme__names_files_that_exist():
    for document in ('README.md', 'CONTRIBUTING.md', 'docs/design.md'):
        text = (ROOT / document).read_text()
        for link in re.findall(r'\]\((?!http)([^)#]+)\)', text):
            assert ((ROOT / document).parent / link).exists(), f'{document} links to {link}'
        for path in re.findall(r'\b(?:configs|tools|plugins)/[\w/]+\.(?:py|sh)\b', text):
            assert (ROOT / path).exists(), f'{document} names {path}'
