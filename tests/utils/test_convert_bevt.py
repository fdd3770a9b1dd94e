"""The architecture is inferred from the authors' weights; what they do not tell is said."""
import math
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from bevt_weights import encoder_weights, finetuned_weights, pretraining_weights  # noqa: E402

from ssvideo.utils.convert_bevt import bevt_model  # noqa: E402
from ssvideo.utils.foreign_weights import read_weights  # noqa: E402
from ssvideo.utils.model_file import build_model  # noqa: E402
from ssvideo.utils.swin_config import infer_window  # noqa: E402

TABLE = 'layers.0.blocks.0.attn.relative_position_bias_table'
BACKBONE = dict(type='ssvideo.VideoSwin', patch_size=[2, 4, 4], embed_dims=16, depths=[1, 1, 2, 1], num_heads=[1, 2, 4, 8],
                window_size=[4, 7, 7], mlp_ratio=4.0)


@pytest.fixture
def infer(tmp_path):
    def infer(weights, **given):
        torch.save(dict(meta=dict(epoch=3), state_dict=weights, optimizer=dict(state={})), tmp_path / 'latest.pth')
        return bevt_model(read_weights(tmp_path / 'latest.pth'), **given)

    return infer


def built(model):
    found = build_model(model.config)
    found.load_state_dict(model.weights, strict=True)
    return found


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_bevt_model__pretraining(infer, prefix):
    model = infer({prefix + name: value for name, value in pretraining_weights().items()})
    assert model.config['type'] == 'ssvideo.Pretrainer'
    assert model.config['backbone'] == BACKBONE | dict(image_stem=True)
    assert model.config['objectives'] == dict(mvm=dict(
        type='ssvideo.MVM', vocab_size=96,
        decoder=dict(type='ssvideo.SwinDecoder', branches=['image', 'video'], temporal_upsample=2)))
    assert {name: masker.get('temporal_stride', 1) for name, masker in model.config['maskers'].items()} == dict(image=1, video=2)
    assert model.config.get('tokenizer') is None
    found = built(model)
    assert found.objectives['mvm'].norm.weight is found.backbone.norm3.weight
    assert model.source['file'] == 'latest.pth'


@pytest.mark.parametrize(('without', 'branch'), [
    (('fpn_s', 'fpn_t', 'lm_down_st'), 'image'), (('fpn.', 'lm_down.'), 'video')])
def test_bevt_model__a_decoder_of_one_branch(infer, without, branch):
    weights = {name: value for name, value in pretraining_weights().items()
               if not name.removeprefix('backbone.').startswith(without)}
    model = infer(weights)
    assert model.config['objectives']['mvm']['decoder']['branches'] == [branch]
    assert set(model.config['maskers']) == {branch}
    built(model)


@pytest.mark.parametrize('prefix', ['backbone.', ''])
def test_bevt_model__the_encoder_alone(infer, prefix):
    weights = {prefix + name.removeprefix('backbone.'): value for name, value in encoder_weights().items()}
    model = infer(weights)
    assert (model.config['type'], model.config['objectives'], model.config['maskers']) == ('ssvideo.Pretrainer', {}, {})
    assert model.config['backbone'] == BACKBONE | dict(image_stem=True)
    assert set(model.weights) == {name for name in built(model).state_dict() if name.startswith('backbone.')}


def test_bevt_model__a_training_saves_more_than_the_model(infer):
    """The released training keeps the tokenizer in the head, and two sets of weights under its EMAHook."""
    weights = pretraining_weights()
    more = {'cls_head.vae_encoder.blocks.input.w': torch.zeros(3), 'ema_backbone_norm_weight': torch.zeros(128),
            'ema_backbone_norm_bias': torch.zeros(128)}
    model = infer(weights | more)
    assert torch.equal(model.weights['backbone.norm3.weight'], weights['backbone.norm.weight'])
    assert any('left out: 1 weights of the tokenizer' in note for note in model.source['notes'])
    assert any('left out: 2 weights of before averaging' in note for note in model.source['notes'])
    built(model)
    headless = {name: value for name, value in weights.items() if 'lm_head' not in name}
    model = infer(headless)
    assert any('left out: 10 weights of the decoder' in note for note in model.source['notes'])
    assert model.config['objectives'] == {}
    built(model)


@pytest.mark.parametrize('norm', ['norm', 'norm3'])
def test_bevt_model__fine_tuned(infer, norm):
    """The authors' mmaction, and today's, which numbers its norms."""
    weights = {name.replace('backbone.norm.', f'backbone.{norm}.'): value for name, value in finetuned_weights().items()}
    model = infer(weights)
    config = model.config
    assert (config['type'], config['num_classes'], config['pool']) == ('ssvideo.ClipClassifier', 5, 'summary')
    assert config['backbone'] == BACKBONE | dict(image_stem=False)
    assert config['data_preprocessor']['mean'] == [123.675, 116.28, 103.53]
    assert torch.equal(model.weights['fc.weight'], weights['cls_head.fc_cls.weight'])
    assert any(note.startswith('mask_embedding: zeros') for note in model.source['notes'])
    found = built(model).eval()
    pixels = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        expected = found.backbone(pixels).summary @ weights['cls_head.fc_cls.weight'].t() + weights['cls_head.fc_cls.bias']
        torch.testing.assert_close(found(pixels), expected)


@pytest.mark.parametrize('window', [(8, 7, 7), (16, 7, 7), (1, 7, 7), (8, 12, 12), (4, 5, 5)])
def test_infer_window__with_and_without_index_buffers(window):
    rows = math.prod(2 * size - 1 for size in window)
    index = {TABLE.replace('bias_table', 'index'): torch.zeros(math.prod(window), 1)}
    for more in ({}, index):
        notes = []
        assert infer_window({TABLE: torch.zeros(rows, 2), **more}, None, notes) == window
        assert f'window_size={window}: from the {rows} rows' in notes[0]
        assert 'ASSUMED' not in notes[0] or not more


def test_infer_window__says_what_else_would_fit():
    """9 x 9 rows in space and 25 in time, or 25 x 9 x 9 otherwise: the table alone does not tell."""
    rows = 25 * 81
    notes, tables = [], {TABLE: torch.zeros(rows, 1)}
    assert infer_window(tables, None, notes) == (1, 23, 23)
    assert 'ASSUMED, since [(5, 8, 8), (13, 5, 5), ' in notes[0]
    index = {TABLE.replace('bias_table', 'index'): torch.zeros(13 * 25, 1)}
    assert infer_window(tables | index, None, notes) == (13, 5, 5)
    assert 'ASSUMED' not in notes[1]
    assert infer_window(tables, [5, 8, 8], notes) == (5, 8, 8)
    assert notes[2] == 'window_size=(5, 8, 8): from --window'


@pytest.mark.parametrize(('tables', 'given', 'message'), [
    ({}, None, 'no attn.relative_position_bias_table'),
    ({TABLE: 15 * 169, TABLE.replace('0', '1'): 49}, None, r'\[49, 2535\] rows'),
    ({TABLE: 100}, None, 'give --window T H W'),
    ({TABLE: 15 * 169}, (4, 7, 7), r'--window \(4, 7, 7\) does not fit.*2535 rows; fitting: \[\(8, 7, 7\)')])
def test_infer_window__errors(tables, given, message):
    with pytest.raises(ValueError, match=message):
        infer_window({name: torch.zeros(rows, 1) for name, rows in tables.items()}, given, [])


@pytest.mark.parametrize(('change', 'message'), [
    (lambda w: w.pop('backbone.patch_embed.proj.weight'), 'not weights of BEVT: backbone.patch_embed.proj.weight is missing'),
    (lambda w: w.update({'backbone.patch_embed.proj.weight': torch.zeros(16, 3, 4, 4)}), 'convert them with "swin2d"'),
    (lambda w: w.update({'backbone.pos_embed': torch.zeros(1)}), 'backbone.pos_embed is not a weight'),
    (lambda w: [w.pop(name) for name in list(w) if 'fpn' in name or 'lm_down' in name], 'a classifier of tokens.*no decoder'),
    (lambda w: w.pop('backbone.layers.0.blocks.0.mlp.fc1.weight'), 'mlp.fc1.weight.*is missing'),
    (lambda w: w.pop('backbone.fpn_t.0.weight'), 'missing.*video.temporal_upsample.weight')])
def test_bevt_model__says_what_is_wrong(infer, tmp_path, change, message):
    weights = pretraining_weights()
    change(weights)
    with pytest.raises(ValueError, match=message):
        infer(weights).save(tmp_path / 'out.safetensors')
    assert not (tmp_path / 'out.safetensors').exists()
