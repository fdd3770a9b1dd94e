from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tests'))
import video_files as files  # noqa: E402

spec = importlib.util.spec_from_file_location('benchmark_loader', ROOT / 'tools' / 'analysis_tools' / 'benchmark_loader.py')
tool = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = tool
spec.loader.exec_module(tool)

CONFIG = """
custom_imports = dict(imports=['ssvideo'])
default_scope = 'mmaction'
model = dict(data_preprocessor=dict(type='ssvideo.ClipPreprocessor', mean=[1., 2., 3.], std=[4., 5., 6.]))
pipeline = [dict(type='ssvideo.SampleClips', clip_len=4, frame_interval=2, num_clips=2), dict(type='ssvideo.DecodeClips'),
            dict(type='Resize', scale=(-1, 48)), dict(type='RandomCrop', size=32), dict(type='Resize', scale=(-1, 24)),
            dict(type='FormatShape', input_format='NCTHW'), dict(type='PackActionInputs')]
train_dataloader = dict(
    first=dict(batch_size=3, num_workers=4, persistent_workers=True, collate_fn=dict(type='ssvideo.collate_clips'),
               sampler=dict(type='ssvideo.DrawSampler', shuffle=True),
               dataset=dict(type='ssvideo.VideoList', source='nowhere.txt', data_root='nowhere', pipeline=pipeline)),
    second=dict())
"""


@pytest.fixture(autouse=True)
def as_before():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    DefaultScope._instance_dict.clear()


@pytest.fixture
def config(tmp_path):
    (tmp_path / 'videos').mkdir()
    for i in range(4):
        files.write_video(tmp_path / 'videos' / f'{i}.mp4', num_frames=20, options={'preset': 'ultrafast'})
    (tmp_path / 'config.py').write_text(CONFIG)
    return tmp_path / 'config.py'


def test_benchmark_loader__shows_each_stage_and_the_ratio(config, tmp_path, capsys):
    tool.main([str(config), '--source', str(tmp_path / 'videos'), '--workers', '0', '1', '--items', '6', '--rounds', '1',
               '--gpu-rate', '100', '--device', 'cpu', '--out', str(tmp_path / 'table.md')])
    text = (tmp_path / 'table.md').read_text()
    for stage in ('1 SampleClips (opens the file)', '2 DecodeClips', '3 Resize', '4 RandomCrop', '5 Resize', '7 PackActionInputs',
                  'collate', 'hand over to the main process', 'a worker, in all', 'main process: receive, stack, copy to cpu'):
        assert f'| {stage} |' in text
    assert "stream 'first', batches of 3 x 2 clips" in text
    rows = [line.split('|')[1:-1] for line in text.splitlines() if line.startswith(('| 0 |', '| 1 |'))]
    assert len(rows) == 2 and all(float(cell) > 0 for row in rows for cell in row[1:3])
    assert 'clips/s needs' in text and 'the config has num_workers=4' in text


def test_benchmark_loader__shares_are_of_what_a_worker_does():
    rows = tool.stage_rows({'decode': 0.03, 'crop': 0.01, 'copy': 0.5}, 2)
    assert rows == [('decode', '30.00', '75.0%'), ('crop', '10.00', '25.0%'), ('a worker, in all', '40.00', '25 clips/s'),
                    ('main process: copy', '500.00', '')]


def test_benchmark_loader__ratios_are_of_rounds():
    costs = [(tool.Cost(0.08, 0.06), tool.Cost(0.1, 0.08)), (tool.Cost(0.09, 0.06), tool.Cost(0.1, 0.06)),
             (tool.Cost(0.2, 0.06), tool.Cost(0.1, 0.1))]
    assert tool.compared_row(2, costs, 3) == ('2', '33.33', '30', '90.0%', '80% to 200%', '75.0%')


def test_benchmark_loader__the_bare_decoder_does_nothing_behind_decoding(config, tmp_path):
    cfg = tool.Config.fromfile(config)
    _, loader = tool.loader_config(cfg, None, str(tmp_path / 'videos'))
    tool.init_default_scope('mmaction')
    dataset = tool.Runner.build_dataloader(dict(loader, num_workers=0, persistent_workers=False), seed=0).dataset
    bare = tool.BareDecoder(dataset)
    assert bare[1, 5] == 8  # frames
    assert len(dataset.transforms) == 7 and dataset[1, 5]['inputs'].shape == (2, 3, 4, 24, 24)


@pytest.mark.parametrize(('needed', 'configured', 'said'), [
    (100, 4, 'needs 5 workers of 20 clips/s, each .* num_workers=4, which would starve it: it would wait 20% of the time'),
    (80, 4, 'needs 4 workers .* num_workers=4, which keeps up'), (15, 0, 'needs 1 workers .* num_workers=0, which keeps up')])
def test_benchmark_loader__says_whether_a_gpu_would_starve(needed, configured, said):
    assert re.search(said, tool.verdict(needed, 20.0, configured))


def test_benchmark_loader__names_what_is_wrong(config, tmp_path):
    few = ['train_dataloader.first.batch_size=5', 'train_dataloader.first.drop_last=True']
    with pytest.raises(SystemExit, match='has 4 entries, fewer than a batch of 5, .*drop_last=True.* a smaller batch_size'):
        tool.main([str(config), '--source', str(tmp_path / 'videos'), '--cfg-options', *few])
    with pytest.raises(SystemExit, match=r"has no stream 'third' in train_dataloader, but \['first', 'second'\]"):
        tool.main([str(config), '--stream', 'third'])
    with pytest.raises(SystemExit, match='source nowhere.txt is neither a file nor a folder'):
        tool.main([str(config)])
