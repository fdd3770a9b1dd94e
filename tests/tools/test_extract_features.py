"""Features of files, folders and lists; what was stopped goes on."""
from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from safetensors.torch import load_file

from ssvideo.apis import extract_features, load_pretrained
from ssvideo.datasets.video_windows import Window
from ssvideo.engine.feature_extraction import FeatureExtraction
from ssvideo.engine.team import Team
from ssvideo.models.frozen_encoder import FrozenEncoder
from ssvideo.models.tokenizers import DalleVAE
from ssvideo.registry import MODELS
from ssvideo.utils.model_file import ModelFile
from tests.video_files import write_video

TOOL = Path(__file__).parents[2] / 'tools' / 'extract_features.py'
SWIN = dict(type='ssvideo.VideoSwin', patch_size=(2, 4, 4), embed_dims=8, depths=(1, 1), num_heads=(1, 2), window_size=(2, 4, 4))
CLASSIFIER = dict(type='ssvideo.ClipClassifier', num_classes=3, backbone=SWIN,
                  data_preprocessor=dict(type='ssvideo.ClipPreprocessor', mean=[127.5] * 3, std=[64.0] * 3))
TOKENS = """
default_scope = 'mmaction'
model = dict(
    type='ssvideo.Pretrainer', maskers=dict(video=dict(type='ssvideo.BlockMasker')),
    objectives=dict(mlm=dict(type='ssvideo.MLM')),
    backbone=dict(type='ssvideo.DividedTransformer', grid=(4, 4, 4), vocab_size=16, embed_dims=16, num_layers=1, num_heads=4))
"""
WINDOW = ['--frames', '4', '--fps', '5', '--size', '32', '--workers', '0', '--device', 'cpu']


@pytest.fixture(autouse=True)
def no_scope_left():
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A model file and a folder of videos, the second of which is broken; the working folder."""
    torch.manual_seed(0)
    ModelFile(CLASSIFIER, MODELS.build(CLASSIFIER).state_dict()).save(tmp_path / 'model.safetensors')
    (tmp_path / 'videos' / 'inner').mkdir(parents=True)
    for i, name in enumerate(['a.mp4', 'inner/c d.mp4']):
        write_video(tmp_path / 'videos' / name, num_frames=20 + 40 * i)
    (tmp_path / 'videos' / 'b.mp4').write_bytes(b'no video')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words) -> None:
    """The tool, in this process."""
    spec = importlib.util.spec_from_file_location('extract_features', TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.main(list(map(str, words)))


def files_in(out: Path) -> list[str]:
    return sorted(str(path.relative_to(out)) for path in out.rglob('*') if path.is_file())


def test_extract_features__writes_a_file_for_each_video_and_lists_what_is_broken(folder, capsys):
    run('model.safetensors', 'videos', '--out', 'out', *WINDOW, '--tokens', '--precision', 'float16', '--batch-size', '2')
    assert capsys.readouterr().out == ('features of 2 of 3 videos are in out (2 of them new); 1 failed, see out/failed.jsonl\n')
    assert files_in(folder / 'out') == ['failed.jsonl', 'features.json', 'videos/a.mp4.safetensors',
                                        'videos/inner/c d.mp4.safetensors']
    model = load_pretrained('model.safetensors', report_to=lambda report: None)
    for name, windows in (('a.mp4', 1), ('inner/c d.mp4', 3)):
        found = load_file(folder / 'out' / 'videos' / f'{name}.safetensors')
        expected = extract_features(model, folder / 'videos' / name, num_frames=4, fps=5, size=32, tokens=True)
        assert found['summary'].shape == (windows, 16)
        assert found['starts'].tolist() == expected.starts.tolist()
        assert torch.equal(found['summary'], expected.summary.half()) and torch.equal(found['tokens'], expected.tokens.half())
    [failure] = [json.loads(line) for line in (folder / 'out' / 'failed.jsonl').read_text().splitlines()]
    assert failure['path'] == 'videos/b.mp4' and failure['reason']


def test_extract_features__goes_on_and_tries_again_what_failed(folder, capsys):
    run('model.safetensors', 'videos', '--out', 'out', *WINDOW)
    before = (folder / 'out' / 'videos' / 'a.mp4.safetensors').stat().st_mtime_ns
    (folder / 'out' / 'videos' / 'inner' / 'c d.mp4.safetensors').unlink()
    write_video(folder / 'videos' / 'b.mp4', num_frames=20)
    capsys.readouterr()
    run('model.safetensors', 'videos', '--out', 'out', *WINDOW)
    assert capsys.readouterr().out == 'features of 3 of 3 videos are in out (2 of them new)\n'
    assert (folder / 'out' / 'videos' / 'a.mp4.safetensors').stat().st_mtime_ns == before
    assert not (folder / 'out' / 'failed.jsonl').exists()


def test_extract_features__features_of_other_settings_are_not_mixed(folder):
    run('model.safetensors', 'videos', '--out', 'out', *WINDOW)
    with pytest.raises(SystemExit, match=r'holds features of other settings \(stride is 0.8, expected 0.4\)'):
        run('model.safetensors', 'videos', '--out', 'out', *WINDOW, '--stride', '0.4')


class OneOf(Team):
    """A member of a team of two, of which the other comes later."""

    def __init__(self, rank: int, todo: list | None = None) -> None:
        self.rank, self.size, self.local_rank, self._todo = rank, 2, 0, todo

    def from_first(self, value):
        return value if self.rank == 0 else self._todo

    def count(self, number: int = 1) -> int:
        return number

    def wait(self) -> None:
        pass


def test_feature_extraction__the_shares_of_two_processes_in_npz_hold_the_same(folder):
    run('model.safetensors', 'videos', '--out', 'one', *WINDOW)
    encoder = FrozenEncoder.of(load_pretrained('model.safetensors', report_to=lambda report: None))
    paths, todo = ['videos/a.mp4', 'videos/b.mp4', 'videos/inner/c d.mp4'], None
    for rank, written in enumerate((['videos/a.mp4.npz', 'videos/inner/c d.mp4.npz'], [])):
        before = set(files_in(folder / 'two')) if rank else set()
        extraction = FeatureExtraction(encoder, paths, folder / 'two', Window(4, 5, 32), {}, OneOf(rank, todo), kind='npz')
        todo = extraction.todo
        extraction.run(8, workers=0, advance=lambda done: None)
        assert [name for name in files_in(folder / 'two') if name not in before and name.endswith('npz')] == written
    for name in ('a.mp4', 'inner/c d.mp4'):
        one = load_file(folder / 'one' / 'videos' / f'{name}.safetensors')
        two = np.load(folder / 'two' / 'videos' / f'{name}.npz')
        assert sorted(two) == sorted(one) == ['starts', 'summary']
        np.testing.assert_allclose(two['summary'], one['summary'].numpy(), rtol=1e-5, atol=1e-6)
    assert len((folder / 'two' / 'failed.jsonl').read_text().splitlines()) == 1


def test_extract_features__of_a_config_its_checkpoint_and_a_tokenizer(folder, capsys):
    (folder / 'config.py').write_text(TOKENS)
    DalleVAE(16, 8, num_blocks=1).save_tokenizer(folder / 'dalle.safetensors')
    spec = {}
    exec(TOKENS, spec)  # our own, above
    torch.save(dict(state_dict=MODELS.build(spec['model']).state_dict()), folder / 'model.pth')
    words = ['--out', 'out', '--tokenizer', 'dalle.safetensors', '--workers', '0', '--device', 'cpu']
    run('config.py', 'model.pth', 'videos/a.mp4', *words, '--fps', '5')
    assert load_file(folder / 'out' / 'videos' / 'a.mp4.safetensors')['summary'].shape == (1, 16)
    with pytest.raises(SystemExit, match='error: say fps of the windows'):
        run('config.py', 'model.pth', 'videos/a.mp4', *words)
    with pytest.raises(SystemExit, match=re.escape('say which tokenizer makes them')):
        run('config.py', 'model.pth', 'videos/a.mp4', '--out', 'other', '--fps', '5', '--device', 'cpu')
    with pytest.raises(SystemExit):
        run('config.py', 'model.pth', *words)
    assert 'after a config come its checkpoint and the videos' in capsys.readouterr().err
