"""The whole frozen evaluation, on videos and on a token store, and lists that must not be mixed."""
from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

from ssvideo.datasets.synthetic_motion import MotionSettings, make_motion_dataset
from ssvideo.datasets.token_store import TokenStoreWriter
from ssvideo.models.tokenizers import DalleVAE
from ssvideo.registry import MODELS

TOOL = Path(__file__).parents[2] / 'tools' / 'evaluate_frozen.py'
VOCAB, GRID = 16, (4, 4, 4)
PIXELS = """
default_scope = 'mmaction'
model = dict(
    type='ssvideo.ClipClassifier', num_classes=10,
    data_preprocessor=dict(type='ssvideo.ClipPreprocessor', mean=[127.5] * 3, std=[64.0] * 3),
    backbone=dict(type='ssvideo.VideoSwin', patch_size=(2, 4, 4), embed_dims=8, depths=(1, 1), num_heads=(1, 2),
                  window_size=(2, 4, 4), init_cfg=dict(type='Pretrained', checkpoint='nowhere.pth', prefix='backbone.')))
val_dataloader = dict(
    batch_size=5, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ssvideo.VideoList', source='nowhere.txt', labels=True, test_mode=True, pipeline=[
        dict(type='ssvideo.SampleClips', clip_len=4, fps=8, num_clips=2, test_mode=True),
        dict(type='ssvideo.DecodeClips'),
        dict(type='Resize', scale=(-1, 32)),
        dict(type='CenterCrop', crop_size=32),
        dict(type='FormatShape', input_format='NCTHW'),
        dict(type='PackActionInputs')]))
"""
TOKENS = """
default_scope = 'mmaction'
model = dict(
    type='ssvideo.ClipClassifier', num_classes=3,
    backbone=dict(type='ssvideo.DividedTransformer', grid=(4, 4, 4), vocab_size=16, embed_dims=16, num_layers=1, num_heads=4))
train_dataloader = dict(dataset=dict(type='ssvideo.TokenClips', store='{folder}/store_train', clip_len=4))
val_dataloader = dict(batch_size=4, num_workers=0, dataset=dict(
    type='ssvideo.TokenClips', store='{folder}/store_val', clip_len=4, num_clips=2, test_mode=True))
"""
QUICK = ['--epochs', '1', '--min-steps', '4', '--lr', '0.001', '0.01', '--weight-decay', '0.1', '--k', '1', '3', '--temperature',
         '0.1', '--fractions', '1', '0.1', '--seeds', '0', '1', '--device', 'cpu']
ROWS = ['kNN, summary', 'kNN, map', 'linear probe, summary', 'linear probe, map', 'attentive probe']


@pytest.fixture(autouse=True)
def no_scope_left():
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture(scope='module')
def videos(tmp_path_factory) -> Path:
    """Two lists of the quickstart's motion videos, a config, and a checkpoint of a pre-training."""
    folder = tmp_path_factory.mktemp('videos')
    make_motion_dataset(folder, MotionSettings(num_train=30, num_val=10, num_frames=12, size=40))
    for name in ('train.txt', 'val.txt'):
        lines = (folder / name).read_text().splitlines()
        (folder / name).write_text(''.join(f'{folder}/{line}\n' for line in lines))
    (folder / 'config.py').write_text(PIXELS)
    torch.manual_seed(5)
    spec = {}
    exec(PIXELS, spec)  # our own, above
    model = MODELS.build(dict(spec['model'], backbone=dict(spec['model']['backbone'], init_cfg=None)))
    torch.save(dict(state_dict=model.state_dict()), folder / 'model.pth')
    return folder


def run(folder: Path, *words, config: str = 'config.py', checkpoint: str = 'model.pth') -> dict:
    """The tool, in this process; what is in the JSON file."""
    spec = importlib.util.spec_from_file_location('evaluate_frozen', TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    checkpoint = checkpoint if checkpoint == 'random' else str(folder / checkpoint)
    out = folder / f'out_{len(list(folder.glob("out_*")))}'
    tool.main([str(folder / config), checkpoint, '--out', str(out), '--cache', str(folder / 'cache'), *map(str, words), *QUICK])
    return json.loads((out / 'frozen.json').read_text())


def test_evaluate_frozen__on_videos_from_lists_to_a_table(videos, capsys):
    lists = ['--train', videos / 'train.txt', '--val', videos / 'val.txt']
    found = run(videos, *lists)
    assert [(row['method'], row['fraction']) for row in found['rows']] == [(name, part) for name in ROWS for part in (1.0, 0.1)]
    assert all(0 <= row['mean']['val'] <= 1 and len(row['trials']) == 2 for row in found['rows'])
    assert found['lists']['val'] == dict(file=str(videos / 'val.txt'), videos=10, missing=[])
    said = capsys.readouterr()
    assert 'The table is in' in said.out.splitlines()[-1]
    table = (videos / 'out_0' / 'frozen.md').read_text()
    assert len(re.findall(r'^\| (?:kNN|linear|attentive).* ± .* \|$', table, re.M)) == 10
    again = run(videos, *lists)
    assert again['rows'] == found['rows'], 'and the second time from the cache'
    assert 'encoding' not in capsys.readouterr().err
    random = run(videos, *lists, '--methods', 'knn', checkpoint='random')
    assert random['backbone'] != found['backbone']


def test_evaluate_frozen__two_processes_make_the_same_features(videos, tmp_path):
    lists = ['--train', str(videos / 'train.txt'), '--val', str(videos / 'val.txt')]
    env = os.environ | dict(OMP_NUM_THREADS='1', PYTHONWARNINGS='ignore')
    words = [str(videos / 'config.py'), str(videos / 'model.pth'), *lists, '--out', str(tmp_path / 'out'), '--cache',
             str(tmp_path / 'cache'), *QUICK, '--methods', 'knn']
    done = subprocess.run([sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2', '--standalone', str(TOOL),
                           *words], env=env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    two = json.loads((tmp_path / 'out' / 'frozen.json').read_text())
    one = run(videos, *lists, '--methods', 'knn')
    assert two['rows'] == one['rows']
    assert done.stdout.count('The table is in') == 1


def test_evaluate_frozen__a_video_of_both_lists_is_an_error(videos, tmp_path, capsys):
    train = (videos / 'train.txt').read_text().splitlines()
    (tmp_path / 'mixed.txt').write_text('\n'.join([*(videos / 'val.txt').read_text().splitlines(), train[4], train[7]]) + '\n')
    with pytest.raises(SystemExit, match=f'error: {re.escape(train[4].rsplit(" ", 1)[0])} is in .*train.txt and in .*mixed.txt'):
        run(videos, '--train', videos / 'train.txt', '--val', tmp_path / 'mixed.txt')
    (tmp_path / 'twice.txt').write_text('\n'.join([*train, train[2]]) + '\n')
    with pytest.raises(SystemExit, match='twice'):
        run(videos, '--train', tmp_path / 'twice.txt', '--val', videos / 'val.txt')
    (tmp_path / 'class.txt').write_text(f'{videos}/val/00000.mp4 77\n')
    with pytest.raises(SystemExit, match=r'has 1 classes of which .*train.txt has no video, as \[77\]'):
        run(videos, '--train', videos / 'train.txt', '--val', tmp_path / 'class.txt')


def test_evaluate_frozen__a_broken_test_video_counts_as_wrong_and_is_named(videos, tmp_path):
    broken = tmp_path / 'broken.mp4'
    broken.write_bytes(b'no video')
    (tmp_path / 'val.txt').write_text((videos / 'val.txt').read_text() + f'{broken} 0\n')
    found = run(videos, '--train', videos / 'train.txt', '--val', tmp_path / 'val.txt', '--methods', 'knn')
    whole = run(videos, '--train', videos / 'train.txt', '--val', videos / 'val.txt', '--methods', 'knn')
    assert found['lists']['val']['missing'] == [str(broken)]
    assert found['rows'][0]['mean']['val'] == pytest.approx(whole['rows'][0]['mean']['val'] * 10 / 11)


@pytest.fixture
def stores(tmp_path) -> Path:
    """A store for each list, as the quickstart has them; the ids of a class are from its own part of the vocabulary."""
    for part, num_videos in (('train', 24), ('val', 9)):
        manifest = dict(tokenizer='abc', fps=2.0, size=(32, 32), grid=GRID[1:], vocab_size=VOCAB)
        writer, lines = TokenStoreWriter(tmp_path / f'store_{part}', manifest), []
        for video in range(num_videos):
            ids = torch.randint(5, (9, *GRID[1:]), generator=torch.Generator().manual_seed(video)) + 5 * (video % 3)
            writer.write(f'{part}/{video}.mp4', ids, video % 3)
            lines.append(f'{part}/{video}.mp4 {video % 3}')
        writer.close()
        (tmp_path / f'{part}.txt').write_text('\n'.join(lines) + '\n')
    (tmp_path / 'config.py').write_text(TOKENS.format(folder=tmp_path))
    return tmp_path


def test_evaluate_frozen__each_list_is_found_in_its_store(stores):
    found = run(stores, '--train', stores / 'train.txt', '--val', stores / 'val.txt', checkpoint='random')
    assert max(row['mean']['val'] for row in found['rows']) > 0.9, 'even random features tell these ids apart'
    (stores / 'other.txt').write_text('elsewhere/1.mp4 0\n')
    with pytest.raises(SystemExit, match='no video of .*other.txt is in a token store'):
        run(stores, '--train', stores / 'train.txt', '--val', stores / 'other.txt', checkpoint='random')


def test_evaluate_frozen__token_models_read_files_with_a_tokenizer(stores, videos):
    DalleVAE(VOCAB, 8, num_blocks=1).save_tokenizer(stores / 'dalle.safetensors')
    words = ['--train', videos / 'train.txt', '--val', videos / 'val.txt', '--tokenizer', stores / 'dalle.safetensors']
    found = run(stores, *words, '--fps', 8, '--methods', 'knn', checkpoint='random')
    assert found['lists']['train'] == dict(file=str(videos / 'train.txt'), videos=30, missing=[])
    with pytest.raises(SystemExit, match='say with --fps'):
        run(stores, *words, checkpoint='random')


def test_evaluate_frozen__a_config_of_pre_training_is_told_apart(videos, tmp_path):
    (tmp_path / 'config.py').write_text(PIXELS.split('val_dataloader')[0])
    with pytest.raises(SystemExit, match='has no val_dataloader'):
        run(tmp_path, '--train', videos / 'train.txt', '--val', videos / 'val.txt', checkpoint='random')
