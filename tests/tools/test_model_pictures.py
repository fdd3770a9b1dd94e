from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from ssvideo.datasets.token_writer import TokenStoreWriter
from ssvideo.engine.given_model import GivenModel, model_arguments, open_model
from ssvideo.registry import MODELS
from tests.small_models import VOCAB, make_models, run_visualization
from tests.video_files import write_video

CLASSIFIER = """
model = dict(_delete_=True, type='ssvideo.ClipClassifier', num_classes=3, backbone={{_base_.model.backbone}},
             data_preprocessor={{_base_.model.data_preprocessor}})
val_dataloader = dict(dataset=dict(type='ssvideo.VideoList', source='nowhere', test_mode=True, pipeline=[
    dict(type='ssvideo.SampleClips', clip_len=4, frame_interval=2, test_mode=True), dict(type='ssvideo.DecodeClips'),
    dict(type='CenterCrop', crop_size=32), dict(type='FormatShape', input_format='NCTHW'), dict(type='PackActionInputs')]))
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    """Both methods, a classifier, and a labelled list with a duplicate, under another name, of its first video."""
    make_models(tmp_path)
    (tmp_path / 'classifier.py').write_text(f"_base_ = '{tmp_path}/bevt.py'\n{CLASSIFIER}")
    torch.save(dict(state_dict=MODELS.build(Config.fromfile(tmp_path / 'classifier.py').model).state_dict()),
               tmp_path / 'classifier.pth')
    write_video(tmp_path / 'videos' / 'c.mp4', num_frames=25, codec='mpeg4')
    shutil.copy(tmp_path / 'videos' / 'a.mp4', tmp_path / 'videos' / 'copy.mp4')
    (tmp_path / 'list.txt').write_text('a.mp4 0\nb.mp4 1\ncopy.mp4 0\nbroken.mp4 1\nc.mp4 2\n')
    return tmp_path


def given(folder: Path, name: str, *args) -> GivenModel:
    parser = argparse.ArgumentParser()
    model_arguments(parser)
    words = [folder / f'{name}.py', folder / f'{name}.pth', '--device', 'cpu', *args]
    return open_model(parser.parse_args([*map(str, words)]))


def test_open_model__gives_what_the_backbone_makes_of_a_clip(folder):
    for name, args in dict(bevt=(), classifier=(), vimpac=('--tokenizer', folder / 'dalle.safetensors', '--fps', 10)).items():
        opened = given(folder, name, *args)
        frames = opened.read(str(folder / 'videos' / 'a.mp4'))
        features, model = opened.features(frames), opened.model
        if name == 'vimpac':
            inputs = model.tokenizers['tokenizer'](frames[None] / 255)
        else:
            inputs = (frames[None] - model.data_preprocessor.mean) / model.data_preprocessor.std
        with torch.no_grad():
            expected = model.backbone(inputs)
        assert torch.allclose(features.summary, expected.summary, atol=1e-5), name
        assert len(features.maps) == len(model.backbone.channels) and not model.training


def test_open_model__a_store_of_another_tokenizer_is_refused(folder):
    writer = TokenStoreWriter(folder / 'store', dict(tokenizer='abc', fps=2.0, size=(32, 32), grid=(4, 4), vocab_size=VOCAB))
    writer.write('a.mp4', torch.randint(VOCAB, (9, 4, 4)))
    writer.close()
    with pytest.raises(ValueError, match='store was made by another tokenizer'):
        given(folder, 'vimpac', '--tokenizer', folder / 'dalle.safetensors', '--fps', 10)


@pytest.mark.parametrize('name', ['vimpac', 'bevt'])
def test_attention__draws_a_row_for_each_branch(folder, name):
    extra = ['--tokenizer', folder / 'dalle.safetensors', '--fps', 10] if name == 'vimpac' else []
    arguments = [folder / f'{name}.py', folder / f'{name}.pth', folder / 'videos' / 'a.mp4', *extra]
    run_visualization('attention', *arguments, '--out', folder / 'all.png')
    run_visualization('attention', *arguments, '--out', folder / 'one.png', '--modules', -1)
    run_visualization('attention', *arguments, '--out', folder / 'at.mp4', '--at', 0.5, 0.5, 0.5, '--heads')
    with Image.open(folder / 'all.png') as both, Image.open(folder / 'one.png') as one:
        assert both.height > one.height  # the first module adds a row
    with av.open(str(folder / 'at.mp4')) as movie:
        assert len(list(movie.decode(video=0))) == (3 if name == 'vimpac' else 4)


def test_attention__several_videos_have_a_picture_each_and_errors_are_one_line(folder, capsys):
    arguments = [folder / 'bevt.py', folder / 'bevt.pth', folder / 'videos', '--out', folder / 'x.gif']
    run_visualization('attention', *arguments)
    assert len(list(folder.glob('x_*.gif'))) == 4 and 'broken.mp4' in capsys.readouterr().err
    with pytest.raises(SystemExit, match=r'error: --modules: got \[7\], but there are 0 layers.0.blocks.0, 1 layers'):
        run_visualization('attention', *arguments, '--modules', 7)
    with pytest.raises(SystemExit, match='error: a place is three shares'):
        run_visualization('attention', *arguments, '--at', 0, 0, 1)


def test_features__colours_every_map_of_every_video(folder):
    arguments = [folder / 'bevt.py', folder / 'bevt.pth', folder / 'videos' / 'a.mp4']
    run_visualization('features', *arguments, folder / 'videos' / 'b.mp4', '--out', folder / 'all.png')
    run_visualization('features', *arguments, '--out', folder / 'one.gif', '--maps', 1)
    with Image.open(folder / 'all.png') as picture, Image.open(folder / 'one.gif') as moving:
        assert len(np.unique(np.asarray(picture.convert('RGB')).reshape(-1, 3), axis=0)) > 50 and moving.n_frames == 4
    with pytest.raises(SystemExit, match=r'error: --maps: got \[5\], expected 0 to 1'):
        run_visualization('features', *arguments, '--maps', 5)


def test_retrieval__finds_the_copy_of_a_video_and_not_itself(folder, capsys):
    arguments = [folder / 'classifier.py', folder / 'classifier.pth', folder / 'list.txt', '--data-root', folder / 'videos']
    run_visualization('retrieval', *arguments, '--k', 2, '--recall', 1, 3, 10, '--out', folder / 'found.png')
    found = json.loads((folder / 'found.json').read_text())
    a, copy = (str(folder / 'videos' / name) for name in ('a.mp4', 'copy.mp4'))
    assert found['neighbours'][a][0] == dict(path=copy, cosine=pytest.approx(1, abs=1e-5))
    assert found['neighbours'][copy][0]['path'] == a and all(len(row) == 2 for row in found['neighbours'].values())
    assert (found['num_queries'], found['recall@1'], found['recall@3']) == (4, 0.5, 0.5) and 'recall@10' not in found
    assert list(found['unreadable']) == [str(folder / 'videos' / 'broken.mp4')]
    printed = capsys.readouterr().out
    assert 'recall@1' in printed and '50.0%' in printed and 'cannot be read' in printed
    assert printed.splitlines()[-1] == f'The picture is {folder}/found.png, the neighbours are in {folder}/found.json'


def test_retrieval__of_other_queries_may_find_the_whole_bank(folder):
    (folder / 'queries.txt').write_text('a.mp4\n')
    (folder / 'bank.txt').write_text('b.mp4\ncopy.mp4\nc.mp4\n')
    arguments = [folder / 'classifier.py', folder / 'classifier.pth', folder / 'bank.txt', '--data-root', folder / 'videos']
    run_visualization('retrieval', *arguments, '--queries', folder / 'queries.txt', '--k', 3, '--out', folder / 'found.gif')
    found = json.loads((folder / 'found.json').read_text())
    assert [Path(one['path']).name for one in found['neighbours'][str(folder / 'videos' / 'a.mp4')]][0] == 'copy.mp4'
    assert not any(key.startswith('recall') for key in found)  # there are no labels
    with Image.open(folder / 'found.gif') as picture:
        assert picture.n_frames == 4


def test_embedding__lays_out_a_list_and_keeps_the_points(folder):
    arguments = [folder / 'classifier.py', folder / 'classifier.pth', folder / 'list.txt', '--data-root', folder / 'videos']
    run_visualization('embedding', *arguments, '--out', folder / 'points.png')
    found = json.loads((folder / 'points.json').read_text())
    points = {Path(one['path']).name: one['point'] for one in found['videos']}
    assert points['a.mp4'] == pytest.approx(points['copy.mp4'], abs=1e-5) and points['a.mp4'] != pytest.approx(points['b.mp4'])
    assert [one['label'] for one in found['videos']] == [0, 1, 0, 2]
    with pytest.raises(SystemExit, match=r'expected \.png'):
        run_visualization('embedding', *arguments, '--out', folder / 'points.gif')


def test_embedding__by_tsne(folder):
    pytest.importorskip('sklearn')
    arguments = [folder / 'classifier.py', folder / 'classifier.pth', folder / 'list.txt', '--data-root', folder / 'videos']
    run_visualization('embedding', *arguments, '--method', 'tsne', '--perplexity', 2, '--out', folder / 'points.png')
    assert json.loads((folder / 'points.json').read_text())['method'] == 'tsne'
    with pytest.raises(SystemExit, match='error: --perplexity must be positive and below the number of videos, 4'):
        run_visualization('embedding', *arguments, '--method', 'tsne', '--perplexity', 9)


def test_report__says_where_the_page_is_or_why_there_is_none(folder, capsys):
    with pytest.raises(SystemExit, match='error: .*is not the folder of a run'):
        run_visualization('report', folder)
    (folder / 'results.json').write_text('{}')
    run_visualization('report', folder)
    assert capsys.readouterr().out.startswith(f'The page is {folder}/report.html (')
