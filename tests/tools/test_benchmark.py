"""``tools/analysis_tools/benchmark.py`` and ``print_config.py``."""
from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from mmengine.registry import DefaultScope

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'tests'))
sys.path.insert(0, str(ROOT / 'tools' / 'analysis_tools'))
sys.path.insert(0, str(ROOT / 'tools' / 'dev'))
import benchmark  # noqa: E402
import print_config  # noqa: E402
import speed_table  # noqa: E402
from video_files import write_video  # noqa: E402

SWIN = """
default_scope = 'mmaction'
model = dict(
    type='ssvideo.ClipClassifier', num_classes=2, data_preprocessor=dict(
        type='ssvideo.ClipPreprocessor', mean=[120., 110., 100.], std=[60., 50., 40.]),
    backbone=dict(type='ssvideo.VideoSwin', patch_size=(2, 4, 4), embed_dims=8, depths=(1, 1), num_heads=(1, 2),
                  window_size=(2, 4, 4), init_cfg=dict(type='Pretrained', checkpoint='gone.pth')))
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='ssvideo.DrawSampler', num_draws=100), dataset=dict(
        type='ssvideo.VideoList', source={source!r}, labels=True, pipeline=[
            dict(type='ssvideo.SampleClips', clip_len=4, frame_interval=1), dict(type='ssvideo.DecodeClips'),
            dict(type='Resize', scale=(-1, 32)), dict(type='CenterCrop', crop_size=32),
            dict(type='FormatShape', input_format='NCTHW'), dict(type='PackActionInputs')]))
optim_wrapper = dict(type='ssvideo.AutocastOptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
"""


VIMPAC = """
default_scope = 'mmaction'
model = dict(
    type='ssvideo.Pretrainer',
    backbone=dict(type='ssvideo.DividedTransformer', grid=(3, 8, 8), vocab_size=4000, embed_dims=32, num_layers=1, num_heads=4),
    maskers=dict(video=dict(type='ssvideo.BlockMasker')), objectives=dict(mlm=dict(type='ssvideo.MLM')))
train_dataloader = dict(video=dict(batch_size=4, dataset=dict(type='ssvideo.TokenClips', store='gone', clip_len=3)))
optim_wrapper = dict(type='ssvideo.AutocastOptimWrapper', optimizer=dict(type='AdamW', lr=1e-3),
                     paramwise_cfg=dict(bypass_duplicate=True))
"""


@pytest.fixture(autouse=True)
def no_scope_left():
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture
def config(tmp_path):
    write_video(tmp_path / 'one.mp4', num_frames=10)
    (tmp_path / 'train.txt').write_text(f'{tmp_path / "one.mp4"} 1\n')
    (tmp_path / 'swin.py').write_text(SWIN.format(source=str(tmp_path / 'train.txt')))
    return tmp_path / 'swin.py'


def cells(page: str, table: int) -> list[list[str]]:
    """The rows of a table of a page, head and line left out."""
    tables = [block for block in page.split('\n\n') if block.startswith('|')]
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in tables[table].splitlines()[2:]]


def test_benchmark__two_recipes_and_two_sizes_in_turns(config, tmp_path):
    benchmark.main([
        str(config), '--against', str(config), '--batch', '1', '3', '--rounds', '3', '--parts', '--no-amp', '--device', 'cpu',
        '--against-options', 'model.backbone.embed_dims=16', 'train_dataloader.dataset.source=gone.txt',
        '--out', str(tmp_path / 'out' / 'page.md')])
    page = (tmp_path / 'out' / 'page.md').read_text()
    rows = cells(page, 0)
    assert [row[1] for row in rows] == ['1 x 1 x 4 x 32 x 32', '3 x 1 x 4 x 32 x 32'] * 2
    assert {row[2] for row in rows} == {'float32'} and rows[0][5] == '1.00x'
    operations = [float(row[6]) for row in rows]
    assert operations[1] == pytest.approx(3 * operations[0], rel=0.01), 'of a step, forward and backward'
    assert 2.5 * operations[0] < operations[2] < 4.5 * operations[0], 'twice as wide'
    for row in rows:
        low, high = map(float, re.search(r'\(([\d.]+) to ([\d.]+)\)', row[4]).groups())
        assert low <= float(row[4].split()[0]) <= high and 0 < float(row[7].rstrip('%')) < 200
    assert rows[0][9].endswith(' s') and rows[2][9] == 'not measured' and 'gone.txt' in page.splitlines()[-1]
    assert [row[0] for row in cells(page, 1)] == ['backbone, forward', 'rest', 'backward', 'clipping and optimiser']


def verdict(page: str) -> tuple[float, ...]:
    """How many times as fast, and the share of memory."""
    return tuple(map(float, re.search(r'is ([\d.]+) times as fast as .* with ([\d.]+) of its peak memory', page).groups()))


def test_benchmark__against_the_plain_step(tmp_path):
    (tmp_path / 'vimpac.py').write_text(VIMPAC)
    benchmark.main([str(tmp_path / 'vimpac.py'), '--against', 'plain', '--rounds', '2', '--no-amp', '--device', 'cpu',
                    '--processor-time', '--parts', '--out', str(tmp_path / 'page.md')])
    page = (tmp_path / 'page.md').read_text()
    ours, plain = cells(page, 0)
    assert ours[0] == 'vimpac.py' and plain[0] == 'plain' and 'seconds are those of the processors' in page
    # Scores of 4000 ids for a twelfth of the positions, where they are most of the arithmetic and memory.
    assert float(plain[6]) > 2 * float(ours[6])
    speed, memory = verdict(page)
    assert speed > 0 and memory < 0.6
    assert [row[0] for row in cells(page, 1)][:2] == ['masks', 'tokenizer, with its view']


def test_benchmark__against_mmaction2(config, tmp_path):
    benchmark.main([str(config), '--against', 'mmaction', '--batch', '1', '--rounds', '1', '--no-amp', '--device', 'cpu',
                    '--out', str(tmp_path / 'page.md')])
    page = (tmp_path / 'page.md').read_text()
    ours, theirs = cells(page, 0)
    assert (ours[0], theirs[0]) == ('VideoSwin of swin.py', 'SwinTransformer3D of mmaction2')
    assert float(ours[6]) == pytest.approx(float(theirs[6]), rel=0.15), 'the same model; weights computed twice'
    assert min(verdict(page)) > 0
    with pytest.raises(SystemExit, match='compares VideoSwin, and this recipe has ssvideo.DividedTransformer'):
        (tmp_path / 'vimpac.py').write_text(VIMPAC)
        benchmark.main([str(tmp_path / 'vimpac.py'), '--against', 'mmaction', '--device', 'cpu'])


def test_speed_table__makes_every_table(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(benchmark, 'report', lambda args: commands.append(args) or f'table of {args.config}\n')
    monkeypatch.chdir(ROOT)
    speed_table.main(['--rounds', '3', '--device', 'cpu', '--processor-time', '--shape', '112', '--cfg-options', 'a.b=3',
                      '--out', str(tmp_path / 'page.md')])
    page = (tmp_path / 'page.md').read_text()
    assert page.count('table of') == len(speed_table.CASES) == len(commands)
    for args in commands:
        assert Path(args.config).exists() and args.against in ('plain', 'mmaction') and args.rounds == 3 and args.amp is False
        assert args.cfg_options['a.b'] == 3 and args.shape == (None if 'vimpac' in args.config else [112])


def test_benchmark__says_what_it_needs(tmp_path):
    (tmp_path / 'tokens.py').write_text('tokenizer = dict()\n')
    with pytest.raises(SystemExit, match='has no model, train_dataloader, optim_wrapper: give the config of a training'):
        benchmark.main([str(tmp_path / 'tokens.py')])


def test_print_config__values_and_where_they_come_from(tmp_path, capsys):
    (tmp_path / 'base.py').write_text('model = dict(width=1, depth=2)\nlr = 0.1\n')
    (tmp_path / 'child.py').write_text("_base_ = ['base.py']\nmodel = dict(depth=3)\nsizes = [1, 2]\n")
    print_config.main([str(tmp_path / 'child.py'), '--sources', '--cfg-options', 'lr=0.2'])
    base, child = tmp_path / 'base.py', tmp_path / 'child.py'
    assert sorted(capsys.readouterr().out.splitlines()) == [
        'lr = 0.2  # --cfg-options', f'model.depth = 3  # {child}', f'model.width = 1  # {base}', f'sizes = [1, 2]  # {child}']
    print_config.main([str(tmp_path / 'child.py'), '--cfg-options', 'model.depth=4'])
    assert 'model = dict(depth=4, width=1)' in capsys.readouterr().out
