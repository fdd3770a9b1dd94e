"""The architecture is inferred from the authors' weights; what they do not tell is said."""
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from vimpac_weights import authors_weights, finetuned_weights  # noqa: E402

from ssvideo.utils.convert_vimpac import vimpac_model  # noqa: E402
from ssvideo.utils.foreign_weights import ForeignWeights, read_weights  # noqa: E402
from ssvideo.utils.model_file import build_model  # noqa: E402


@pytest.fixture
def infer(tmp_path):
    def infer(weights, facts=None, **given):
        torch.save(dict(model=weights, **(facts or {})), tmp_path / 'classifier.pt')
        return vimpac_model(read_weights(tmp_path / 'classifier.pt'), **given)

    return infer


def loads(model):
    build_model(model.config).load_state_dict(model.weights, strict=True)


@pytest.mark.parametrize('norm', ['post', 'pre'])
@pytest.mark.parametrize(('layout', 'branches'), [
    ('T,H|W', (1, 2)), ('T,H,W', (1, 1, 1)), ('H|W,T', (2, 1)), ('T,HW', (1, 1)), ('THW', (1,)), ('T|H|W', (3,))])
def test_vimpac_model__sizes_follow_from_the_shapes(infer, layout, branches, norm):
    weights = authors_weights(branches, norm, width=96, attention=48, mlp=80, layers=3, grid=(2, 3, 5), vocab=20)
    model = infer(weights, num_heads=6, layout=layout)
    assert model.config['backbone'] == dict(
        type='ssvideo.DividedTransformer', layout=layout, num_heads=6, grid=[2, 3, 5], vocab_size=20, embed_dims=96,
        num_layers=3, attention_dims=48, mlp_dims=80, norm=norm)
    loads(model)


@pytest.mark.parametrize(('projector', 'expected'), [
    ((64, 32), dict(num_layers=2, hidden_dims=64, out_dims=32)),  # as the released Small
    ((48, 48, 24), dict(num_layers=3, hidden_dims=48, out_dims=24)), ((24,), dict(num_layers=1, hidden_dims=24, out_dims=24))])
def test_vimpac_model__the_projector(infer, projector, expected):
    model = infer(dict(reversed(authors_weights(projector=projector).items())))  # in any order
    assert model.config['objectives'] == dict(mlm=dict(type='ssvideo.MLM'), nce=dict(type='ssvideo.InfoNCE', **expected))
    loads(model)


@pytest.mark.parametrize(('heads', 'expected'), [
    (dict(), {'mlm', 'nce'}), (dict(mlm=False), {'nce'}), (dict(projector=()), {'mlm'}), (dict(mlm=False, projector=()), set())])
def test_vimpac_model__objectives_are_those_with_weights(infer, heads, expected):
    model = infer(authors_weights(**heads))
    assert model.config['type'] == 'ssvideo.Pretrainer'
    assert set(model.config['objectives']) == expected
    loads(model)


def test_vimpac_model__what_weights_do_not_tell(infer):
    """The file's own word, else what was given, else what every model of the paper has; the notes say which."""
    large_half = authors_weights(width=1024, attention=512, mlp=64, layers=1)
    model = infer(large_half)
    assert (model.config['backbone']['num_heads'], model.config['backbone']['layout']) == (16, 'T,H|W')
    assert 'num_heads=16: ASSUMED (width 1024 / 64)' in model.source['notes'][1]
    assert 'layout=T,H|W: ASSUMED' in model.source['notes'][0]
    model = infer(authors_weights(), num_heads=4, layout='T,H|W')
    assert model.source['notes'] == ['layout=T,H|W: from --layout', 'num_heads=4: from --num-heads']
    facts = dict(config=dict(num_heads='8', layout='T,H|W'))
    model = infer(authors_weights(), facts, num_heads=4, layout='T,H|W')
    assert model.config['backbone']['num_heads'] == 8
    assert model.source['notes'] == ['layout=T,H|W: from the source file',
                                     'num_heads=8: from the source file (--num-heads 4 is not used)']
    assert model.source['file'] == 'classifier.pt'
    assert len(model.source['sha256']) == 64


@pytest.mark.parametrize(('branches', 'given', 'message'), [
    ((1, 1, 1), {}, r"'T,H\|W' has \[1, 2\] branches.*\[1, 1, 1\].*give --layout 'T,H,W'"),
    ((1, 2), dict(layout='T,H|W,T'), r"give --layout 'T,H\|W'"),
    ((1, 1, 2), {}, r'the weights have \[1, 1, 2\]$'),
    ((1, 2), dict(layout='T,X'), "'X' is not a line"),
    ((1, 2), dict(num_heads=3), 'num_heads=3 does not divide'),
    ((1, 2), dict(num_heads=0), 'num_heads must be at least 1')])
def test_vimpac_model__a_wrong_layout_or_number_of_heads(infer, branches, given, message):
    with pytest.raises(ValueError, match=message):
        infer(authors_weights(branches), **given)
    with pytest.raises(ValueError, match="the file says num_heads='many', expected int"):
        infer(authors_weights(), dict(num_heads='many'))
    with pytest.raises(ValueError, match='num_heads must be at least 1, got 0: give --num-heads'):
        infer(authors_weights(width=48, attention=48))


@pytest.mark.parametrize('name', ['cls_head', 'cls_head.fc', 'cls_head.mlp.linear_0', 'classifier', 'fc'])
def test_vimpac_model__a_fine_tuned_head_of_any_name(infer, name):
    weights = finetuned_weights(name)
    model = infer(weights)
    assert (model.config['type'], model.config['num_classes']) == ('ssvideo.ClipClassifier', 7)
    assert model.source['notes'][-1] == f'classifier: {name}, 7 classes'
    assert torch.equal(model.weights['fc.weight'], weights[f'{name}.weight'])
    assert torch.equal(model.weights['fc.bias'], weights[f'{name}.bias'])
    loads(model)


def test_vimpac_model__a_fine_tuned_file_that_kept_the_heads_of_pretraining(infer):
    model = infer(authors_weights() | finetuned_weights('head'))
    assert model.source['notes'][-1].startswith('classifier: head, 7 classes; left out: 12 weights')
    loads(model)
    with pytest.raises(ValueError, match=r"2 linear layers that may be the classifier, \['a', 'b'\]"):
        infer(finetuned_weights('a') | finetuned_weights('b'))


def test_vimpac_model__refuses_other_weights(infer):
    with pytest.raises(ValueError, match='backbone.embedding.weight is missing'):
        infer(dict(a=torch.zeros(1)))
    with pytest.raises(ValueError, match='not weights of VIMPAC.*surprise'):
        infer(authors_weights() | dict(surprise=torch.zeros(1)))
    layer = 'backbone.transformer.resblocks.0'
    for name, message in [('backbone.positional_embedding.height_pos_embedding', 'backbone.positions.height'),
                          (f'{layer}.mlp.c_fc.weight', 'mlp.body.0.weight'),
                          (f'{layer}.attention_blocks.0.attentions.0.attention.key.weight', 'key.weight is missing')]:
        weights = authors_weights()
        del weights[name]
        with pytest.raises(ValueError, match=message):
            infer(weights)


def test_vimpac_model__changes_nothing_of_its_source(tmp_path):
    (tmp_path / 'x').write_bytes(b'')
    weights = finetuned_weights()
    before = set(weights)
    vimpac_model(ForeignWeights(tmp_path / 'x', weights, {}))
    assert set(weights) == before
