"""mmengine loads model files as they are."""
import pytest
import torch
from mmengine.runner import CheckpointLoader, load_checkpoint

from ssvideo.registry import MODELS
from ssvideo.utils.mmengine_checkpoints import load_from_local
from ssvideo.utils.mmengine_safetensors import load_from_safetensors
from ssvideo.utils.model_file import ModelFile, build_model

BACKBONE = dict(type='ssvideo.DividedTransformer', grid=(2, 2, 2), vocab_size=4, embed_dims=8, num_layers=1, num_heads=2)
CONFIG = dict(type='ssvideo.Pretrainer', backbone=BACKBONE, maskers=dict(video=dict(type='ssvideo.BlockMasker')),
              objectives=dict(mlm=dict(type='ssvideo.MLM')))


@pytest.fixture
def saved(tmp_path):
    model = build_model(CONFIG)
    ModelFile(CONFIG, model.state_dict()).save(tmp_path / 'm.safetensors')
    return model, str(tmp_path / 'm.safetensors')


def test_mmengine_safetensors__init_cfg_of_a_backbone(saved):
    model, path = saved
    config = dict(BACKBONE, grid=(4, 2, 2), init_cfg=dict(type='Pretrained', checkpoint=path, prefix='backbone.'))
    classifier = MODELS.build(dict(type='ssvideo.ClipClassifier', backbone=config, num_classes=3))
    classifier.init_weights()
    own, given = classifier.backbone.state_dict(), model.backbone.state_dict()
    assert own['positions.temporal'].shape == (4, 8)
    assert all(torch.equal(own[name], given[name]) for name in given if name != 'positions.temporal')


def test_mmengine_safetensors__load_from(saved):
    model, path = saved
    other = build_model(CONFIG)
    found = load_checkpoint(other, path, map_location='cpu', strict=True)  # what Runner(load_from=...) calls
    assert found.keys() == {'state_dict'}  # no meta.config, which a resuming Runner would execute
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())


def test_mmengine_safetensors__other_files_keep_their_loaders():
    loader = CheckpointLoader._get_checkpoint_loader
    assert loader('a/b.safetensors') is loader('/data/run:1/b.safetensors') is load_from_safetensors
    assert loader('a/b.pth') is loader('b.safetensors.pth') is load_from_local
    for url in ('https://x/b.safetensors', 's3://x/b.safetensors'):
        assert loader(url) not in (load_from_safetensors, load_from_local)
