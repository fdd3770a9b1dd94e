"""The published costs, counted by ``tools/analysis_tools/get_flops.py``."""
from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import nn
from torch.nn import functional as F

from ssvideo.evaluation.flops import count_macs
from ssvideo.evaluation.stand_in_tokenizers import stand_in_tokenizers

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('get_flops', ROOT / 'tools' / 'analysis_tools' / 'get_flops.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def no_scope_left():
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture
def counted(tool, tmp_path):
    """Runs the tool and gives, for each title, the rows by name: parameters in millions, GMACs, GFLOPs."""
    def run(*words: str) -> dict[str, dict[str, tuple[float, ...]]]:
        tool.main([*map(str, words), '--markdown', str(tmp_path / 'flops.md')])
        found, title = {}, None
        for line in (tmp_path / 'flops.md').read_text().splitlines():
            cells = [cell.strip() for cell in line.strip('| ').split('|')]
            if len(cells) == 1 and line:
                title = line
            elif len(cells) == 5 and cells[0] not in ('part', '---'):
                found.setdefault(title, {})[cells[0]] = tuple(map(float, cells[1:4]))
        return found
    return run


def classifier(folder: Path, backbone: dict, **words) -> Path:
    model = dict(type='ssvideo.ClipClassifier', num_classes=400, backbone=backbone)
    config = dict(default_scope='mmaction', model=model, **words)
    (folder / 'config.py').write_text('\n'.join(f'{key} = {value!r}' for key, value in config.items()))
    return folder / 'config.py'


@pytest.mark.parametrize(('window', 'gmacs'), [((8, 7, 7), 282), ((16, 7, 7), 321)])
def test_get_flops__video_swin_b_at_32_frames(counted, tmp_path, window, gmacs):
    config = classifier(tmp_path, dict(type='ssvideo.VideoSwin'))
    (rows,) = counted(config, '--shape', 32, 224, 224, '--window', *window).values()
    assert rows['backbone'][1] == pytest.approx(gmacs, rel=0.005)
    assert rows['backbone'][2] == pytest.approx(2 * rows['backbone'][1], rel=1e-3)
    if window == (8, 7, 7):
        assert rows['backbone'][0] == 87.64 and rows['total'][0] == pytest.approx(88.05, abs=0.01)  # 88.1 M with a K400 head


def test_get_flops__the_joint_stage_with_a_tokenizer_that_is_not_there(counted, capsys, tmp_path):
    tokenizer = f'model.tokenizer.checkpoint={tmp_path / "none.safetensors"}'
    video, image = counted(ROOT / 'configs/bevt_swin_b.py', '--cfg-options', tokenizer).values()
    for rows, gflops in ((video, 296), (image, 31.9)):
        assert rows['of which backbone and decoder'][2] == pytest.approx(gflops, rel=0.005)
        assert (rows['backbone'][0], rows['tokenizers.tokenizer'][0]) == (87.64, 53.79)
    assert image['tokenizers.tokenizer'][2] == pytest.approx(52.1, rel=0.005)
    assert video['tokenizers.tokenizer'][2] == pytest.approx(0.75 * 16 * 52.1, rel=0.03), 'three of four frames need tokens'
    assert video['objectives.mvm.classifier'][2] == pytest.approx(0.373 * 52.6, rel=0.04), '52.6 for all tokens'
    said = capsys.readouterr().out
    assert 'none.safetensors does not exist: counted a tokenizer of the published size' in said and 'NOT counted' not in said


def test_get_flops__a_transformer_of_tokens(counted):
    """Linear layers by hand, in C^2 a token and layer: 4 for attention in time, 4 in space, 8 for the MLP; the last MLP is
    computed for hidden tokens only."""
    (rows,) = counted(ROOT / 'configs/vimpac_small.py').values()
    assert rows['backbone'][0] == 29.44
    tokens, dims = 5 * 16 * 16, 512
    linear = tokens * dims**2 * (6 * (4 + 4) + (5 + 0.15) * 8) / 1e9
    assert linear < rows['backbone'][1] < 1.02 * linear, 'and attention, and [CLS]'


def test_get_flops__clip_length_and_crop_come_from_the_recipe(tool, counted, tmp_path):
    swin = dict(type='ssvideo.VideoSwin', embed_dims=8, depths=(1, 1), num_heads=(1, 1), window_size=(2, 4, 4))
    pipeline = [dict(type='ssvideo.SampleClips', clip_len=6), dict(type='Resize', scale=(-1, 40)),
                dict(type='CenterCrop', crop_size=32)]
    config = classifier(tmp_path, swin, train_dataloader=dict(dataset=dict(type='ssvideo.VideoList', pipeline=pipeline)))
    (title,) = counted(config)
    assert title.endswith('6 x 32 x 32')
    assert tool.shape_of(dict(pipeline=pipeline), [64]) == (6, 64, 64)
    assert tool.shape_of(dict(pipeline=pipeline), [4, 48, 64]) == (4, 48, 64)
    still = dict(pipeline=[dict(type='ssvideo.LoadImage'), dict(type='RandomResizedCrop'),
                           dict(type='Resize', scale=(48, 48), keep_ratio=False)])
    assert tool.shape_of(still, None) == (1, 48, 48) and tool.shape_of(still, [8, 64, 64]) == (1, 64, 64)
    with pytest.raises(ValueError, match='give --shape'):
        tool.shape_of({}, None)


def test_get_flops__a_tokenizers_training(counted):
    (rows,) = counted(ROOT / 'configs/tokenizers/dalle_dvae.py').values()
    assert (rows['encoder'][0], rows['decoder'][0]) == (53.79, 43.83)
    assert rows['encoder'][2] == pytest.approx(52.1 * (256 / 112)**2, rel=0.005)
    assert rows['decoder'][2] > rows['encoder'][2], 'though it is not called as a whole'


def test_get_flops__refuses_other_models(tool, tmp_path):
    (tmp_path / 'config.py').write_text("default_scope = 'mmaction'\nmodel = dict(type='ssvideo.BlockMasker')\n")
    with pytest.raises(SystemExit, match="expected a Pretrainer, a ClipClassifier or a tokenizer's trainer; mmaction2's own"):
        tool.main([str(tmp_path / 'config.py')])


def test_stand_in_tokenizers__leaves_files_that_are_there_and_knows_no_others(tmp_path):
    (tmp_path / 'own.safetensors').write_bytes(b'')
    own = dict(type='ssvideo.DalleTokenizer', checkpoint=str(tmp_path / 'own.safetensors'))
    hog = dict(type='HogTargets', checkpoint='none.pth')
    assert stand_in_tokenizers(dict(tokenizer=dict(own)), tmp_path) == [] == stand_in_tokenizers(dict(tokenizer=None), tmp_path)
    with pytest.raises(ValueError, match='HogTargets: none.pth does not exist'):
        stand_in_tokenizers(dict(tokenizer=dict(dalle=own, hog=hog)), tmp_path)


class _Mixed(nn.Module):
    """What a count can get wrong: attention, a batched product with a bias, a convolution, and an operator of no known cost."""

    def __init__(self):
        super().__init__()
        self.attend, self.add, self.convolve, self.solve = _Attend(), _Add(), nn.Conv3d(2, 4, 3, bias=False), nn.Identity()

    def forward(self, x):
        self.attend(x), self.add(x), self.convolve(x[:2].view(1, 2, 4, 5, 6))
        return torch.linalg.inv(torch.zeros(3, 3, device=x.device))


class _Attend(nn.Module):
    def forward(self, x):
        q = x.view(2, 3, 20, 4)
        return F.scaled_dot_product_attention(q, q[:, :, :10], q[:, :, :10])


class _Add(nn.Module):
    def forward(self, x):
        return torch.baddbmm(torch.zeros(4, 30, 30, device=x.device), x, x.transpose(1, 2))


def test_count_macs__attention_products_and_convolutions_by_hand_and_the_rest_is_named():
    model = _Mixed().to('meta')
    parts, not_counted = count_macs(model, lambda: model(torch.zeros(4, 30, 4, device='meta')))
    macs = {part.name: part.macs for part in parts}
    assert macs == dict(attend=2 * 2 * 3 * 20 * 10 * 4, add=4 * 30 * 30 * 4, convolve=4 * 2 * 27 * 2 * 3 * 4)
    assert {part.name: part.parameters for part in parts}['convolve'] == 4 * 2 * 27
    assert any('linalg_inv' in name for name in not_counted)
