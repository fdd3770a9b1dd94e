"""``tools/dev/gpu_benchmarks.py``, all of it, on a CPU and tiny models."""
from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from mmengine.registry import DefaultScope

from ssvideo.evaluation.device_gaps import Gap, largest_gaps
from ssvideo.models.tokenizers import DalleVAE

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'tools' / 'dev'))
import gpu_benchmarks  # noqa: E402

TRANSFORMER = ['model.backbone.embed_dims=16', 'model.backbone.num_layers=1', 'model.backbone.num_heads=2',
               'model.backbone.attention_dims=8', 'model.backbone.mlp_dims=16', 'model.backbone.grid=(3,4,4)',
               'model.backbone.vocab_size=32', 'model.objectives.nce.hidden_dims=16', 'model.objectives.nce.num_pairs=None']
SWIN = dict(embed_dims=8, depths='(1,1,1,1)', num_heads='(1,1,2,2)', window_size='(4,7,7)')


@pytest.fixture(autouse=True)
def no_scope_left():
    yield
    DefaultScope._instance_dict.clear()


def test_gpu_benchmarks__all_tables(tmp_path, capsys):
    DalleVAE(32, 4, num_blocks=1).save_tokenizer(tmp_path / 'dalle.safetensors')
    common = ['--device', 'cpu', '--backend', 'eager', '--rounds', '2', '--curve', '4', '--batch', '2',
              '--shape', '4', '64', '64']
    gpu_benchmarks.main([*common, '--recipes', 'vimpac_256', '--out', str(tmp_path / 'out'), '--vimpac-256-options', *TRANSFORMER,
                         '--swin-options', *(f'{name}={value}' for name, value in SWIN.items())])
    page = (tmp_path / 'out' / 'page.md').read_text()
    assert 'NOT MEASURED' not in page and '5 of 5 parts were measured' in capsys.readouterr().out
    for way in ('float32', 'bfloat16', 'bfloat16, compiled'):
        assert re.search(rf'^\| {way} \| [\d.e+]+ \|', page, re.M)
    assert re.search(r'^\| ours \| [\d.e+]+ \| [\d.]+x \|', page, re.M)
    first, fourth = (float(re.search(rf'^\| {number} to {number} \| ([\d.]+) ', page, re.M).group(1)) for number in (1, 4))
    assert abs(first - fourth) > 1e-4, 'the weights move'
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {'page.md', 'vimpac_256_trace.json'}

    gpu_benchmarks.main([
        *common, '--recipes', 'bevt', '--tables', 'curves', 'gaps', '--out', str(tmp_path / 'out'),
        '--bevt-options', f'model.tokenizer.checkpoint={tmp_path / "dalle.safetensors"}', 'model.maskers.video.min_block=2',
        'model.maskers.image.min_block=2', *(f'model.backbone.{name}={value}' for name, value in SWIN.items())])
    page = (tmp_path / 'out' / 'page.md').read_text()
    assert 'NOT MEASURED' not in page and re.search(r'^\| 1 to 1 \| [\d.]+ \| [\d.]+ \| [+-][\d.]+% \|', page, re.M)


def test_gpu_benchmarks__a_part_that_fails_is_told(tmp_path):
    with pytest.raises(SystemExit):
        gpu_benchmarks.main(['--device', 'cpu', '--recipes', 'vimpac_256', '--tables', 'gaps', '--out', str(tmp_path),
                             '--vimpac-256-options', 'model.backbone.norm=odd'])
    page = (tmp_path / 'page.md').read_text()
    assert "NOT MEASURED: ValueError: DividedTransformer: norm must be 'post' or 'pre', got 'odd'" in page


def test_largest_gaps__of_what_overlaps():
    spans = [(50, 90, 'c'), (0, 30, 'a'), (10, 20, 'within'), (25, 40, 'b'), (100, 110, 'd')]
    found, idle = largest_gaps(spans, num=1)
    assert found == [Gap(10e-9, 'b', 'c')] and idle == pytest.approx(20 / 110)
    assert largest_gaps([], 3) == ([], 0.0)
