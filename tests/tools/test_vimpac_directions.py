import importlib.util
import json
import math
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image

from ssvideo.datasets.token_store import TokenStoreWriter

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'dev' / 'vimpac_directions.py'
VOCAB = Config.fromfile(TOOL.parents[2] / 'configs' / 'quickstart' / 'base.py').VOCAB
SETTINGS = ('block', 'block + contrast', 'iid', 'iid + contrast')


@pytest.fixture
def tool(monkeypatch):
    for name in ('QUICKSTART', 'QUICKSTART_SCALE'):
        monkeypatch.setenv(name, '1')  # put back after the test
    monkeypatch.setattr(Config, 'pretty_text', property(lambda self: ''))  # formatting takes longer than these runs
    spec = importlib.util.spec_from_file_location('vimpac_directions', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    DefaultScope._instance_dict.clear()


def make_stores(folder: Path) -> Path:
    """Still videos: two clips of one have all in common, as in the motion videos most."""
    generator = torch.Generator().manual_seed(0)
    for name, num_videos in (('tokens', 40), ('tokens_val', 6)):
        manifest = dict(tokenizer='abc', fps=8.0, size=(64, 64), grid=(8, 8), vocab_size=VOCAB)
        writer = TokenStoreWriter(folder / name, manifest)
        for video in range(num_videos):
            ids = torch.randint(VOCAB, (1, 8, 8), generator=generator).expand(7, 8, 8)
            writer.write(f'{video}.mp4', ids, video % 2)
        writer.close()
    (folder / 'classes.txt').write_text('left\nright\n')
    return folder


def test_vimpac_directions__four_settings_and_a_contrast_that_starts_at_chance(tool, tmp_path, capsys):
    tool.main(['--data', str(make_stores(tmp_path / 'data')), '--out', str(tmp_path / 'out'), '--steps', '12'])
    assert str(tmp_path / 'out') in capsys.readouterr().out.splitlines()[-1]
    found = json.loads((tmp_path / 'out' / 'directions.json').read_text())
    assert found['steps'] == 12 and found['knn_chance'] == 0.5 and tuple(found['settings']) == SETTINGS
    for setting, figures in found['settings'].items():
        assert figures['mask_ratio']['mean'] == pytest.approx(0.172, abs=0.01), 'the same share for both kinds of masks'
        assert ('contrast_start' in figures) == ('contrast' in setting)
        assert all(0 <= figures[name]['mean'] <= 1 for name in ('mask_accuracy', 'knn_summary_start', 'knn_map_end'))
    for kind in ('block', 'iid'):
        start = found['settings'][f'{kind} + contrast']['contrast_start']['mean']
        assert start == pytest.approx(math.log(2 * 8 - 1), rel=0.15), 'n = 8 pairs'
    starts = [figures['knn_map_start'] for figures in found['settings'].values()]
    assert all(start == starts[0] for start in starts), 'from the same weights'
    page = (tmp_path / 'out' / 'directions.md').read_text()
    assert all(f'| {setting} |' in page for setting in SETTINGS) and 'ln(2n - 1) = 2.708' in page
    picture = Image.open(tmp_path / 'out' / 'directions.png').convert('RGB')
    counts = {colour: count for count, colour in picture.getcolors(1 << 24)}
    assert min(counts.get(colour, 0) for colour in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00))) > 200, 'both are drawn'
