"""What we fine-tune, stock mmaction2 tests with the same predictions."""
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import DictAction
from mmengine.hub import get_config
from mmengine.registry import DefaultScope
from mmengine.runner import load_checkpoint

sys.path.insert(0, str(Path(__file__).parents[1]))
from vimpac_weights import convert  # noqa: E402

from ssvideo.registry import MODELS  # noqa: E402
from ssvideo.utils.export_mmaction import STOCK_CONFIGS, mmaction_model  # noqa: E402
from ssvideo.utils.model_file import ModelFile  # noqa: E402

SMALL = dict(embed_dims=8, depths=[2, 1, 2, 1], num_heads=[1, 2, 4, 8])
PIXELS = dict(type='ssvideo.ClipPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])


def classifier(window=(4, 7, 7), sizes=SMALL, num_classes=6, **changes):
    """A config in JSON's types."""
    return dict(type='ssvideo.ClipClassifier', num_classes=num_classes, data_preprocessor=PIXELS, backbone=dict(
        type='ssvideo.VideoSwin', window_size=list(window), **sizes)) | changes


def trained(config):
    """A model whose predictions differ from video to video, and its file."""
    torch.manual_seed(0)
    model = MODELS.build(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if 'norm' not in name:
                torch.nn.init.normal_(parameter, std=0.4 if name.startswith('fc.') else 0.1)
    return model, ModelFile(config, model.state_dict(), dict(notes=[]))


def stock(name, *options, arch=None):
    """mmaction2's model as its shipped config describes it, with words of its command line, and of smaller sizes."""
    from mmaction.registry import MODELS as MMACTION
    cfg = get_config(f'mmaction::{STOCK_CONFIGS[name]}')
    cfg.merge_from_dict({key: DictAction._parse_iterable(value) for key, value in (o.split('=') for o in options)})
    if arch:
        cfg.model.backbone.arch = arch
        cfg.model.cls_head.in_channels = arch['embed_dims'] * 8
    with DefaultScope.overwrite_default_scope('mmaction'):
        return MMACTION.build(cfg.model).eval()


def predictions(model, num_views, num_videos=2):
    """Scores and labels of two videos through the model's own preprocessor, as ``test.py`` asks for them."""
    from mmaction.structures import ActionDataSample
    generator = torch.Generator().manual_seed(1)
    videos = [torch.randint(256, (num_views, 3, 8, 60, 64), generator=generator, dtype=torch.uint8) for _ in range(num_videos)]
    samples = [ActionDataSample().set_gt_label(0) for _ in range(num_videos)]
    found = model.test_step(dict(inputs=videos, data_samples=samples))
    return torch.stack([sample.pred_score for sample in found]), [sample.pred_label.item() for sample in found]


@pytest.mark.parametrize('average_clips', ['prob', 'score'])
@pytest.mark.parametrize('num_views', [1, 3])
def test_export__stock_mmaction2_predicts_the_same(tmp_path, num_views, average_clips):
    """Its shipped config, of smaller sizes, loads the file strictly."""
    model, file = trained(classifier(average_clips=average_clips))
    file.save(tmp_path / 'mine.safetensors')
    convert('mmaction', tmp_path / 'mine.safetensors', tmp_path / 'theirs.pth')
    theirs = stock('base', 'model.backbone.window_size=[4,7,7]', 'model.cls_head.num_classes=6',
                   f'model.cls_head.average_clips={average_clips}', arch=SMALL)
    load_checkpoint(theirs, str(tmp_path / 'theirs.pth'), strict=True)  # as mmaction2's test.py does, but strictly
    (expected, labels), (scores, their_labels) = predictions(model, num_views), predictions(theirs, num_views)
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-5)
    assert their_labels == labels
    assert (expected[0] - expected[1]).abs().max() > 1e-2  # the two videos are told apart


def test_export__names_the_shipped_config_and_what_differs_from_it():
    """At a size that mmaction2 ships, with SSv2's window and classes: its config with these options and nothing else."""
    tiny = dict(embed_dims=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24])
    model, file = trained(classifier(window=(16, 7, 7), sizes=tiny, num_classes=174, dropout=0.1))
    exported = mmaction_model(file)
    assert exported.stock_config == STOCK_CONFIGS['tiny']
    assert exported.options == ['model.backbone.window_size=[16,7,7]', 'model.cls_head.num_classes=174']
    assert exported.config['backbone']['arch'] == 'tiny'
    theirs = stock('tiny', *exported.options)
    theirs.load_state_dict(exported.weights, strict=True)
    torch.testing.assert_close(predictions(theirs, 1)[0], predictions(model, 1)[0], atol=1e-5, rtol=1e-5)


def test_export__every_shipped_config_is_named_rightly():
    from mmaction.models import SwinTransformer3D
    for arch, path in STOCK_CONFIGS.items():
        config = get_config(f'mmaction::{path}').model
        assert config.backbone.arch == arch
        assert SwinTransformer3D.arch_zoo[arch]['embed_dims'] * 8 == config.cls_head.in_channels


CONFIG = f"""
model = dict(type='ssvideo.ClipClassifier', num_classes=6, data_preprocessor={PIXELS},
             backbone=dict(type='ssvideo.VideoSwin', window_size=(4, 7, 7), embed_dims=8, depths=(2, 1, 2, 1),
                           num_heads=(1, 2, 4, 8), init_cfg=dict(type='Pretrained', checkpoint='somewhere.pth')))
"""


def test_export__from_a_training_and_its_config(tmp_path, capsys):
    model, _ = trained(classifier())
    (tmp_path / 'recipe.py').write_text(CONFIG)
    torch.save(dict(state_dict=model.state_dict(), optimizer=dict(state={})), tmp_path / 'epoch_1.pth')
    convert('mmaction', tmp_path / 'epoch_1.pth', tmp_path / 'theirs.pth', '--config', tmp_path / 'recipe.py')
    printed = capsys.readouterr().out
    assert 'Recognizer3D' in printed
    assert 'test it with' not in printed  # mmaction2 ships no such size
    state = torch.load(tmp_path / 'theirs.pth', weights_only=True)['state_dict']
    assert torch.equal(state['cls_head.fc_cls.weight'], model.fc.weight)
    assert sum(name.endswith('relative_position_index') for name in state) == 6
    assert not any('patch_embed_2d' in name or 'mask_embedding' in name for name in state)


@pytest.mark.parametrize(('changes', 'message'), [
    (dict(pool='map'), 'classifies the raw last map'),
    (dict(data_preprocessor=None), 'no mean and std'),
    (dict(backbone=dict(type='ssvideo.DividedTransformer')), 'the backbone of this one is a DividedTransformer'),
    (dict(type='ssvideo.Pretrainer'), 'this is a Pretrainer: fine-tune it first')])
def test_export__refuses_what_mmaction2_has_not(changes, message):
    with pytest.raises(ValueError, match=message):
        mmaction_model(ModelFile(classifier() | changes, {}))


def test_export__refuses_weights_of_another_model():
    _, file = trained(classifier())
    del file.weights['fc.bias']
    with pytest.raises(ValueError, match=r"missing \['fc.bias'\]"):
        mmaction_model(file)
