"""Learning rates that fall layer by layer."""
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

import ssvideo.engine.layer_decay  # noqa: F401
import ssvideo.models  # noqa: F401
from ssvideo.registry import MODELS

SWIN_T = dict(type='ssvideo.VideoSwin', embed_dims=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24), image_stem=False)
# how often the rate of each layer of Swin-T is multiplied, written out by hand
EXPONENTS = {
    'backbone.patch_embed.': 16,
    'backbone.layers.0.blocks.0.': 15, 'backbone.layers.0.blocks.1.': 14, 'backbone.layers.0.downsample.': 13,
    'backbone.layers.1.blocks.0.': 12, 'backbone.layers.1.blocks.1.': 11, 'backbone.layers.1.downsample.': 10,
    'backbone.layers.2.blocks.0.': 9, 'backbone.layers.2.blocks.1.': 8, 'backbone.layers.2.blocks.2.': 7,
    'backbone.layers.2.blocks.3.': 6, 'backbone.layers.2.blocks.4.': 5, 'backbone.layers.2.blocks.5.': 4,
    'backbone.layers.2.downsample.': 3,
    'backbone.layers.3.blocks.0.': 2, 'backbone.layers.3.blocks.1.': 1, 'backbone.norm3.': 1,
    'fc.': 0}
TABLES = 'relative_position_bias_table'


def classifier(**backbone) -> nn.Module:
    with torch.device('meta'):
        return MODELS.build(dict(type='ssvideo.ClipClassifier', num_classes=5, backbone=dict(SWIN_T, **backbone)))


def optimizer_of(model: nn.Module, optimizer=None, **paramwise):
    return build_optim_wrapper(model, dict(
        type='OptimWrapper', constructor='ssvideo.LayerDecayConstructor', paramwise_cfg=paramwise,
        optimizer=optimizer or dict(type='AdamW', lr=3e-4, weight_decay=1e-3))).optimizer


def settings(model: nn.Module, **paramwise) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay of each parameter, by name."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = optimizer_of(model, **paramwise).param_groups
    given = [(names[id(p)], (group['lr'], group['weight_decay'])) for group in groups for p in group['params'] if p.numel()]
    assert len(given) == len(dict(given)), 'each parameter once'
    return dict(given)


def test_layer_decay__every_rate_of_swin_t_is_that_of_a_table_written_by_hand():
    model = classifier()
    found = settings(model, layer_decay=0.9)
    expected = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (exponent,) = [exponent for prefix, exponent in EXPONENTS.items() if name.startswith(prefix)]
            rate = 3e-4
            for _ in range(exponent):
                rate *= 0.9
            expected[name] = (pytest.approx(rate, rel=1e-12), 1e-3)
    assert found == expected and len(found) > 150


def test_layer_decay__names_may_keep_the_full_rate_or_lose_the_weight_decay():
    """The words of the recipe for Kinetics-400, as released: tables apart, and no decay of them and the final norm alone."""
    plain = settings(classifier(), layer_decay=0.9)
    found = settings(classifier(), layer_decay=0.9, full_rate=(TABLES,), no_weight_decay=(TABLES, 'backbone.norm'))
    for name, (rate, decay) in found.items():
        assert rate == (3e-4 if TABLES in name else plain[name][0])
        assert decay == (0 if TABLES in name or name.startswith('backbone.norm3') else 1e-3)
    assert sum(TABLES in name for name in found) == 12


def test_layer_decay__leaves_out_what_is_frozen_and_counts_other_depths():
    found = settings(classifier(depths=(1, 1), num_heads=(3, 6), image_stem=True), layer_decay=0.5)
    assert not [name for name in found if 'mask_embedding' in name or 'patch_embed_2d' in name]
    assert found['backbone.patch_embed.proj.weight'][0] == 3e-4 / 2**4  # merging, two blocks, the classifier
    assert found['fc.bias'][0] == 3e-4


def test_layer_decay__schedules_and_the_log_see_the_full_rate():
    optimizer = build_optim_wrapper(classifier(), dict(
        type='OptimWrapper', constructor='ssvideo.LayerDecayConstructor', paramwise_cfg=dict(layer_decay=0.9),
        optimizer=dict(type='AdamW', lr=3e-4, weight_decay=1e-3)))
    assert optimizer.get_lr()['base_lr'] == [3e-4]
    assert len(optimizer.optimizer.param_groups) == 17


@pytest.mark.parametrize(('paramwise', 'optimizer', 'match'), [
    (dict(layer_decay=1.5), None, r'layer_decay in \(0, 1\]; got'), (dict(decay_rate=0.9), None, 'paramwise_cfg takes'),
    (dict(layer_decay=0.9, norm_decay_mult=0.0), None, 'norm_decay_mult'),
    (dict(layer_decay=0.9), dict(type='AdamW', lr=1e-3), 'must state lr and weight_decay')])
def test_layer_decay__refuses_words_that_it_does_not_know(paramwise, optimizer, match):
    with pytest.raises(ValueError, match=match):
        optimizer_of(classifier(), optimizer, **paramwise)


def test_layer_decay__refuses_a_backbone_whose_layers_it_cannot_count():
    with pytest.raises(ValueError, match='counts the layers of VideoSwin, got Linear.*custom_keys'):
        optimizer_of(nn.ModuleDict(dict(backbone=nn.Linear(2, 2))), layer_decay=0.9)
