"""A folder of ``tools/export.py`` predicts, wherever it lies, what the trained model predicts."""
from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope, init_default_scope

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'tests'))
from page_commands import load_tool  # noqa: E402
from video_files import write_video  # noqa: E402

from ssvideo.apis import load_pretrained  # noqa: E402
from ssvideo.apis.exported_model import open_exported  # noqa: E402
from ssvideo.models.tokenizers import DalleVAE, load_tokenizer  # noqa: E402
from ssvideo.registry import DATASETS, MODELS  # noqa: E402
from ssvideo.utils.checksum import checksum_of  # noqa: E402

NAMES = ['left', 'right', 'up']
DECODE = "[dict(type='ssvideo.DecodeClips'), dict(type='Resize', scale=(-1, 32)), {crop}, dict(type='FormatShape', " \
         "input_format='NCTHW'), dict(type='PackActionInputs')]"
SWIN = """
default_scope = 'mmaction'
custom_imports = dict(imports=['ssvideo'])
model = dict(
    type='ssvideo.ClipClassifier', num_classes=3, average_clips='prob',
    data_preprocessor=dict(type='ssvideo.ClipPreprocessor', mean=[120., 110., 100.], std=[60., 50., 40.]),
    backbone=dict(type='ssvideo.VideoSwin', patch_size=(2, 4, 4), embed_dims=8, depths=(1, 2), num_heads=(1, 2),
                  window_size=(2, 4, 4), init_cfg=dict(type='Pretrained', checkpoint='gone.pth', prefix='backbone.')))
test_dataloader = dict(dataset=dict(
    type='ssvideo.VideoList', source={source!r}, labels=True, test_mode=True, class_names={names}, pipeline=[
        dict(type='ssvideo.SampleClips', clip_len=4, frame_interval=3, num_clips=2, test_mode=True), *{three}]))
"""
TRANSFORMER = """
default_scope = 'mmaction'
custom_imports = dict(imports=['ssvideo'])
model = dict(
    type='ssvideo.{kind}', **{words}, backbone=dict(
        type='ssvideo.DividedTransformer', grid=(3, 4, 4), vocab_size=16, embed_dims=24, num_layers=1, num_heads=4))
{loader}_dataloader = dict(dataset=dict(type='ssvideo.TokenClips', store='gone', clip_len=3, num_clips=2{test}))
"""
TOKENS = """
default_scope = 'mmaction'
tokenizer = dict(type='ssvideo.DalleTokenizer', checkpoint={tokenizer!r})
dataset = dict(type='ssvideo.VideoList', source='gone', pipeline=[dict(type='ssvideo.SampleWholeVideo', fps=5), *{center}])
"""


@pytest.fixture(scope='module')
def tool():
    return load_tool('tools/export.py')


@pytest.fixture(autouse=True)
def no_scope_left():
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp('videos') / 'one.mp4', num_frames=40)


@pytest.fixture
def trained(tmp_path, video):
    """A config, a checkpoint with more than weights in it, and a list; the model as it was trained."""
    (tmp_path / 'val.txt').write_text(f'{video} 1\n')
    three = DECODE.format(crop="dict(type='ThreeCrop', crop_size=32)")
    (tmp_path / 'swin.py').write_text(SWIN.format(source=str(tmp_path / 'val.txt'), names=NAMES, three=three))
    torch.manual_seed(0)
    return train(tmp_path / 'swin.py', tmp_path / 'run' / 'epoch_3.pth')


def train(config: Path, checkpoint: Path):
    """Random weights of a config's model, as a checkpoint of a training."""
    cfg = Config.fromfile(config)
    cfg.model.backbone.pop('init_cfg', None)
    model = MODELS.build(cfg.model).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    checkpoint.parent.mkdir(exist_ok=True)
    meta = dict(epoch=3, iter=12, seed=0, tokenizers=dict(tokenizer='abc'), cfg='x = 1')
    torch.save(dict(state_dict=model.state_dict(), optimizer=dict(state={}), meta=meta), checkpoint)
    return cfg, checkpoint, model


def export(tool, *words) -> None:
    tool.main(list(map(str, words)))


def test_export__predicts_anywhere_with_nothing_but_the_folder(tool, trained, tmp_path, video):
    cfg, checkpoint, model = trained
    export(tool, cfg.filename, checkpoint, tmp_path / 'out')
    init_default_scope('mmaction')
    item = DATASETS.build(cfg.test_dataloader.dataset)[0]
    batch = model.data_preprocessor(dict(inputs=[item['inputs']], data_samples=[item['data_samples']]))
    with torch.no_grad():
        expected = model(**batch, mode='predict')[0].pred_score
    assert len(item['inputs']) == 2 * 3

    elsewhere = tmp_path / 'elsewhere'
    shutil.copytree(tmp_path / 'out', elsewhere / 'model')
    for gone in ('out', 'run'):
        shutil.rmtree(tmp_path / gone)
    for gone in ('swin.py', 'val.txt'):
        (tmp_path / gone).unlink()
    code = ("import json; from ssvideo.apis.exported_model import open_exported; "
            f"print(json.dumps(open_exported('model').predict({str(video)!r})))")
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], cwd=elsewhere, capture_output=True, text=True, check=True)
    scores = json.loads(done.stdout)
    assert [scores[name] for name in NAMES] == expected.tolist()  # bit for bit
    assert list(scores.values()) == sorted(scores.values(), reverse=True)


def test_export__the_folder_says_what_it_is(tool, trained, tmp_path, capsys):
    cfg, checkpoint, model = trained
    scalars = checkpoint.parent / '20260101_000000' / 'vis_data' / 'scalars.json'
    scalars.parent.mkdir(parents=True)
    scalars.write_text('{"loss": 2.5, "lr": 0.1, "epoch": 3, "iter": 12, "step": 12}\n{"acc/top1": 0.75, "step": 3}\n')
    export(tool, cfg.filename, checkpoint, tmp_path / 'out')
    assert 'loaded        55' in (said := capsys.readouterr().out) and f'The model is in {tmp_path / "out"}' in said
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {
        'README.md', 'labels.json', 'model.json', 'model.safetensors', 'preprocessing.json'}
    found = json.loads((tmp_path / 'out' / 'preprocessing.json').read_text())
    assert (found['clip_len'], found['frame_interval'], found['num_clips'], found['crops']) == (4, 3, 2, 3)
    assert (found['size'], found['mean'], found['std']) == ([32, 32], [120., 110., 100.], [60., 50., 40.])
    assert json.loads((tmp_path / 'out' / 'labels.json').read_text()) == NAMES
    card = (tmp_path / 'out' / 'README.md').read_text()
    for part in ('| acc/top1 | 0.75 | 3 |', '| loss | 2.5 | 12 |', 'epoch 3, iter 12, seed 0', 'checksum `abc`', 'torch 2.',
                 'test_dataloader | 1 lines, SHA-256', "type='ssvideo.ClipClassifier'", 'left, right, up'):
        assert part in card, part
    assert '| lr |' not in card


def test_export__a_token_model_takes_its_tokenizer_along(tool, tmp_path, video):
    DalleVAE(16, 4, num_blocks=1).save_tokenizer(tmp_path / 'dalle.safetensors')
    center = DECODE.format(crop="dict(type='CenterCrop', crop_size=32)")
    (tmp_path / 'tokens.py').write_text(TOKENS.format(tokenizer=str(tmp_path / 'dalle.safetensors'), center=center))
    (tmp_path / 'vimpac.py').write_text(TRANSFORMER.format(
        kind='ClipClassifier', words=dict(num_classes=3), loader='test', test=', test_mode=True'))
    cfg, checkpoint, model = train(tmp_path / 'vimpac.py', tmp_path / 'run' / 'last.pth')

    export(tool, cfg.filename, checkpoint, tmp_path / 'plain')
    with pytest.raises(ValueError, match='reads tokens, and was exported without'):
        open_exported(tmp_path / 'plain').predict(video)
    export(tool, cfg.filename, checkpoint, tmp_path / 'out', '--tokens', tmp_path / 'tokens.py')
    tokenizer = load_tokenizer(tmp_path / 'dalle.safetensors')
    (tmp_path / 'dalle.safetensors').unlink()
    exported = open_exported(tmp_path / 'out')
    assert checksum_of(exported.model.tokenizer) == checksum_of(tokenizer)
    assert 'tokenizer.safetensors' in json.loads((tmp_path / 'out' / 'model.json').read_text())['sha256']
    with torch.no_grad():
        clips = exported.clips(video).frames
        tokens = tokenizer(clips / 255)
        assert tokens.shape == (2, 3, 4, 4)
        assert list(exported.predict(video).values()) == sorted(model(tokens).softmax(1).mean(0).tolist(), reverse=True)


def test_export__a_pretrained_model_and_features(tool, tmp_path, video):
    words = dict(maskers=dict(video=dict(type='ssvideo.BlockMasker')), objectives=dict(mlm=dict(type='ssvideo.MLM')))
    (tmp_path / 'vimpac.py').write_text(TRANSFORMER.format(kind='Pretrainer', words=words, loader='train', test=''))
    DalleVAE(16, 4, num_blocks=1).save_tokenizer(tmp_path / 'dalle.safetensors')
    center = DECODE.format(crop="dict(type='CenterCrop', crop_size=32)")
    (tmp_path / 'tokens.py').write_text(TOKENS.format(tokenizer=str(tmp_path / 'dalle.safetensors'), center=center))
    cfg, checkpoint, model = train(tmp_path / 'vimpac.py', tmp_path / 'run' / 'last.pth')
    export(tool, cfg.filename, checkpoint, tmp_path / 'out', '--tokens', tmp_path / 'tokens.py')
    exported = open_exported(tmp_path / 'out')
    features = exported.features(video)
    with torch.no_grad():
        tokens = load_tokenizer(tmp_path / 'dalle.safetensors')(exported.clips(video).frames / 255)
        assert torch.equal(features, model.backbone(tokens).summary)
    assert features.shape == (1, 24)  # training draws two clips, a fixed view is one
    with pytest.raises(ValueError, match='a Pretrainer does not classify'):
        exported.predict(video)
    loaded = load_pretrained(tmp_path / 'out', backbone=dict(grid=(5, 4, 4)))
    assert loaded.backbone.grid == (5, 4, 4)


def test_export__refuses(tool, trained, tmp_path):
    cfg, checkpoint, _ = trained
    for words, message in (
            ([cfg.filename, tmp_path / 'none.pth', tmp_path / 'out'], 'there is no file'),
            ([cfg.filename, checkpoint, tmp_path / 'run'], 'is there already'),
            ([cfg.filename, checkpoint, tmp_path / 'out', '--cfg-options', 'model.num_classes=4'], '3 names for the 4 classes'),
            ([cfg.filename, checkpoint, tmp_path / 'out', '--cfg-options', 'model.backbone.depths=(2,2)'], 'missing'),
            ([cfg.filename, checkpoint, tmp_path / 'out', '--cfg-options', 'model.type=ssvideo.DalleVAE'], 'trains a DalleVAE')):
        with pytest.raises(SystemExit, match=message):
            export(tool, *words)
    assert not list(tmp_path.glob('out*')), 'whole or absent'
