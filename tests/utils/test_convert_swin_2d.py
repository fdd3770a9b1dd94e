"""Image models of timm, Microsoft and MoBY compute as VideoSwin what they compute themselves."""
import os
import re

import pytest
import torch
from mmengine.registry import init_default_scope
from timm.models.swin_transformer import SwinTransformer

from ssvideo.apis import load_pretrained
from ssvideo.models.backbones.video_swin import VideoSwin
from ssvideo.utils.convert_swin_2d import read_swin_2d, swin_2d_model

SIZES = dict(depths=(2, 1, 2, 1), num_heads=(1, 2, 4, 8))
WINDOW, SIDE = 3, 96  # maps of 24, 12, 6 and 3 cells: shifted, and one window


@pytest.fixture(scope='module')
def timm_model():
    torch.manual_seed(0)
    model = SwinTransformer(img_size=SIDE, patch_size=4, embed_dim=16, window_size=WINDOW, num_classes=7, **SIZES).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.fixture(scope='module')
def images():
    return torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def microsoft(weights):
    """timm's weights under Microsoft's names, with the buffers that their files hold."""
    def rename(name):
        name = re.sub(r'layers\.(\d)\.downsample', lambda match: f'layers.{int(match[1]) - 1}.downsample', name)
        return name.replace('head.fc.', 'head.')

    buffers = {'layers.0.blocks.0.attn.relative_position_index': torch.zeros(9, 9, dtype=torch.long),
               'layers.0.blocks.1.attn_mask': torch.zeros(64, 9, 9)}
    return {rename(name): value for name, value in weights.items()} | buffers


def moby(weights):
    """As Transformer-SSL saves a training: the key encoder must not be taken for the trained one."""
    encoder = {name: value for name, value in microsoft(weights).items() if not name.startswith('head.')}
    other = {f'encoder_k.{name}': torch.zeros_like(value) for name, value in encoder.items()}
    heads = {f'{name}.linear_out.weight': torch.zeros(4, 4) for name in ('projector', 'projector_k', 'predictor')}
    return other | {f'encoder.{name}': value for name, value in encoder.items()} | heads | dict(
        queue1=torch.zeros(4, 4), queue_ptr=torch.zeros(1, dtype=torch.long))


def converted(content, folder):
    torch.save(content, folder / 'source.pth')
    swin_2d_model(read_swin_2d(folder / 'source.pth')).save(folder / 'out.safetensors')
    return load_pretrained(folder / 'out.safetensors', report_to=lambda report: None)


@pytest.mark.parametrize('wrap', [
    lambda w: w, lambda w: dict(model=microsoft(w)), lambda w: dict(model={f'module.{k}': v for k, v in microsoft(w).items()})],
    ids=['timm', 'Microsoft', 'distributed'])
def test_swin_2d__an_image_classifier_computes_the_same(timm_model, images, tmp_path, wrap):
    model = converted(wrap(timm_model.state_dict()), tmp_path)
    with torch.no_grad():
        logits = model(images.unsqueeze(2))
        torch.testing.assert_close(logits, timm_model(images), atol=1e-4, rtol=1e-4)
        for ours, theirs in zip(model.backbone(images.unsqueeze(2)).maps, maps_of(timm_model, images), strict=True):
            torch.testing.assert_close(ours.squeeze(1), theirs, atol=1e-4, rtol=1e-4)
    assert logits.std() > 0.1


def maps_of(timm_model, images):
    """Maps of the stages; timm's merging opens a stage, so that they come out unmerged, as ours do."""
    x, maps = timm_model.patch_embed(images), []
    for stage in timm_model.layers:
        x = stage(x)
        maps.append(x)
    return maps


def test_swin_2d__moby_is_its_trained_encoder(timm_model, images, tmp_path):
    model = converted(dict(model=moby(timm_model.state_dict()), optimizer=dict(state={}), epoch=299), tmp_path)
    assert type(model).__name__ == 'Pretrainer'
    with torch.no_grad():
        features = model.backbone(images.unsqueeze(2))
        torch.testing.assert_close(features.maps[-1].squeeze(1), maps_of(timm_model, images)[-1], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(features.summary, timm_model.forward_features(images).mean((1, 2)), atol=1e-4, rtol=1e-4)
    notes = swin_2d_model(read_swin_2d(tmp_path / 'source.pth')).source['notes']
    assert any('not of the backbone, of encoder_k, predictor, projector, projector_k, queue1, queue_ptr' in n for n in notes)


def test_swin_2d__config_saved_beside_the_weights(timm_model, tmp_path):
    """Microsoft's training code saves a yacs config, which plain loading refuses."""
    yacs = pytest.importorskip('yacs.config')
    config = yacs.CfgNode(dict(MODEL=dict(NAME='moby', SWIN=dict(DEPTHS=[2, 2, 6, 2]))))
    torch.save(dict(model=moby(timm_model.state_dict()), config=config), tmp_path / 'source.pth')
    source = read_swin_2d(tmp_path / 'source.pth')
    assert source.fact('DEPTHS') == [2, 2, 6, 2]
    assert swin_2d_model(source).config['backbone']['depths'] == [2, 1, 2, 1]


def test_swin_2d__a_malicious_config_runs_nothing(timm_model, tmp_path):
    class Attack:
        def __reduce__(self):
            return os.system, (f'touch {tmp_path}/ran',)

    torch.save(dict(model=timm_model.state_dict(), config=Attack()), tmp_path / 'source.pth')
    with pytest.raises(ValueError, match='nothing in it was executed'):
        read_swin_2d(tmp_path / 'source.pth')
    assert not (tmp_path / 'ran').exists()


def test_swin_2d__the_released_image_stage_of_bevt(timm_model, images, tmp_path):
    """BEiT's names: the norm is fc_norm, there is a mask token, and a decoder that nobody needs."""
    weights = {name: value for name, value in microsoft(timm_model.state_dict()).items() if not name.startswith('head.')}
    norm = {f'fc_norm.{leaf}': weights.pop(f'norm.{leaf}') for leaf in ('weight', 'bias')}
    stale = {'norm.weight': torch.zeros(128), 'norm.bias': torch.zeros(128)}
    more = {'mask_token': torch.arange(16.0).view(1, 1, 16), 'lm_head.weight': torch.zeros(9, 128)}
    model = converted(dict(module={f'encoder.{k}': v for k, v in (weights | norm | stale | more).items()}), tmp_path)
    assert torch.equal(model.backbone.mask_embedding.data, torch.arange(16.0))
    with torch.no_grad():
        torch.testing.assert_close(model.backbone(images.unsqueeze(2)).summary,
                                   timm_model.forward_features(images).mean((1, 2)), atol=1e-4, rtol=1e-4)


def test_swin_2d__sizes_and_notes(timm_model, tmp_path):
    torch.save(dict(model=microsoft(timm_model.state_dict())), tmp_path / 'source.pth')
    file = swin_2d_model(read_swin_2d(tmp_path / 'source.pth'))
    assert file.config['backbone'] == dict(
        type='ssvideo.VideoSwin', patch_size=[1, 4, 4], embed_dims=16, depths=[2, 1, 2, 1], num_heads=[1, 2, 4, 8],
        window_size=[1, 3, 3], mlp_ratio=4.0, image_stem=False)
    assert file.config['num_classes'] == 7
    assert file.source['notes'][0].startswith('mask_embedding: zeros')
    assert '2 buffers of indices dropped' in file.source['notes'][1]


@pytest.fixture
def video_model():
    """A joint-stage backbone with other weights than the image model's."""
    torch.manual_seed(2)
    return dict(type='ssvideo.VideoSwin', patch_size=(2, 4, 4), embed_dims=16, window_size=(4, WINDOW, WINDOW),
                drop_path_rate=0.0, **SIZES)


def build(config):
    from ssvideo.registry import MODELS
    init_default_scope('mmaction')
    model = MODELS.build(config)
    model.init_weights()
    return model.eval()


@pytest.mark.parametrize('kind', ['out.safetensors', 'timm'])
def test_init_cfg__of_a_video_model_inflates(timm_model, images, video_model, tmp_path, kind):
    """From the tool's file, and from timm's weights as they are; the image stream then computes what timm does."""
    if kind == 'timm':
        torch.save(timm_model.state_dict(), tmp_path / 'timm.pth')
        init = dict(type='Pretrained', checkpoint=str(tmp_path / 'timm.pth'))
    else:
        converted(dict(model=microsoft(timm_model.state_dict())), tmp_path)
        init = dict(type='Pretrained', checkpoint=str(tmp_path / kind), prefix='backbone.')
    model = build(video_model | dict(init_cfg=init))
    with torch.no_grad():
        for ours, theirs in zip(model(images.unsqueeze(2)).maps, maps_of(timm_model, images), strict=True):
            torch.testing.assert_close(ours.squeeze(1), theirs, atol=1e-4, rtol=1e-4)
    kernel = timm_model.patch_embed.proj.weight
    torch.testing.assert_close(model.patch_embed.proj.weight, torch.stack([kernel, kernel], 2) / 2)


def test_init_cfg__microsofts_file_as_it_is_names_the_tool(timm_model, video_model, tmp_path):
    torch.save(dict(model=microsoft(timm_model.state_dict())), tmp_path / 'swin.pth')
    with pytest.raises(ValueError, match='convert_checkpoint.py swin2d SOURCE OUT'):
        build(video_model | dict(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'swin.pth'))))


@pytest.mark.parametrize(('change', 'message'), [
    (lambda w: w.pop('patch_embed.proj.weight'), 'patch_embed.proj.weight is missing, by itself and under'),
    (lambda w: w.update({'patch_embed.proj.weight': torch.zeros(16, 3, 2, 4, 4)}), 'convert a video model with "bevt"'),
    (lambda w: w.update(absolute_pos_embed=torch.zeros(1, 576, 16)), 'adds absolute positions'),
    (lambda w: w.update({'layers.3.blocks.0.attn.relative_position_bias_table': torch.zeros(169, 8)}), r'\[25, 169\] rows'),
    (lambda w: w.update({'layers.0.blocks.0.attn.logit_scale': torch.zeros(1)}), 'unexpected.*logit_scale'),
    (lambda w: w.pop('layers.2.blocks.1.attn.qkv.bias'), 'missing.*layers.2.blocks.1.attn.qkv.bias'),
    (lambda w: w.pop('layers.0.blocks.0.mlp.fc1.weight'), 'mlp.fc1.weight.*is missing')])
def test_swin_2d__refuses_other_architectures(timm_model, tmp_path, change, message):
    weights = microsoft(timm_model.state_dict())
    change(weights)
    with pytest.raises(ValueError, match=message):
        converted(dict(model=weights), tmp_path)
    assert not (tmp_path / 'out.safetensors').exists()


def test_swin_2d__half_a_classifier_is_left_out(timm_model, tmp_path):
    weights = microsoft(timm_model.state_dict())
    del weights['head.bias']
    assert type(converted(weights, tmp_path)).__name__ == 'Pretrainer'
    notes = swin_2d_model(read_swin_2d(tmp_path / 'source.pth')).source['notes']
    assert 'left out: 1 weights that are not of the backbone, of head' in notes


def test_parameters__of_timms_swin_b_and_ours_are_the_same_number():
    with torch.device('meta'):
        theirs = SwinTransformer(embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32), num_classes=0)
        ours = VideoSwin(patch_size=(1, 4, 4), window_size=(1, 7, 7))
    assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in ours.parameters()) - 128  # mask embedding
