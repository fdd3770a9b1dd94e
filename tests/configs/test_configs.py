"""Every config builds its model, and its parts are found."""
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

import ssvideo.engine  # noqa: F401
import ssvideo.models  # noqa: F401
from ssvideo.datasets.token_store import TokenStoreWriter
from ssvideo.datasets.video_list import build_transform
from ssvideo.engine.launch import check_names
from ssvideo.models.layers.perceptual import PerceptualNetwork
from ssvideo.models.tokenizers import DalleVAE
from ssvideo.registry import DATASETS, HOOKS, LOOPS, MODELS

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / 'configs').rglob('*.py') if '_base_' not in path.parts)


def published_size(path) -> str:
    """A tokenizer of the real vocabulary, small inside."""
    DalleVAE(8192, 4, num_blocks=1).save_tokenizer(path)
    return str(path)


def small_store(path) -> str:
    """A token store of one video."""
    manifest = dict(tokenizer='', fps=None, frame_interval=1, size=(112, 112), grid=(14, 14), vocab_size=8192)
    writer = TokenStoreWriter(path, manifest)
    writer.write('a', torch.zeros(1, 14, 14, dtype=torch.long))
    writer.close()
    return str(path)


@pytest.mark.parametrize('path', CONFIGS)
def test_configs__parts_exist(path, tmp_path):
    config = Config.fromfile(ROOT / path)
    check_names(config)
    loaders = config.get('train_dataloader') or {}
    for loader in ([loaders] if 'dataset' in loaders else loaders.values()):
        assert DATASETS.get(loader.dataset.type)
        for transform in loader.dataset.get('pipeline', []):
            if transform.type == 'ssvideo.StoredTokens':
                transform.store = small_store(tmp_path / 'store')
            assert build_transform(transform)
    for hook in config.custom_hooks:
        assert HOOKS.get(hook.type)
    if 'train_cfg' in config:
        assert LOOPS.get(config.train_cfg.type)


@pytest.mark.parametrize(('path', 'millions'), [
    ('configs/bevt_swin_b.py', 87.64), ('configs/bevt_swin_b_stored.py', 87.64), ('configs/bevt_image_swin_b.py', 86.7)])
def test_configs__full_size_models_have_the_published_size(path, millions, tmp_path):
    model = Config.fromfile(ROOT / path).model
    model.tokenizer.checkpoint = published_size(tmp_path / 'tokenizer.safetensors')
    with torch.device('meta'):
        backbone = MODELS.build(model.backbone)
    size = sum(p.numel() for name, p in backbone.named_parameters() if not name.startswith(backbone.pretraining_only or '-'))
    assert size / 1e6 == pytest.approx(millions, abs=1.1 if 'image' in path else 0.011)


@pytest.mark.parametrize('path', ['configs/bevt_swin_b.py', 'configs/bevt_image_swin_b.py'])
def test_configs__full_size_recipes_step_when_shrunk(path, tmp_path):
    model = Config.fromfile(ROOT / path).model
    model.tokenizer.checkpoint = published_size(tmp_path / 'tokenizer.safetensors')
    model.backbone.update(embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2))
    model = MODELS.build(model)
    clip = torch.randint(256, (1, 3, 16, 224, 224), dtype=torch.uint8)
    batch = {stream: dict(inputs=[clip if stream == 'video' else clip[:, :, :1]]) for stream in model.maskers}
    losses = model(model.data_preprocessor(batch)['inputs'], mode='loss')
    model.parse_losses(losses)[0].backward()
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]


def shrunk(model: Config) -> Config:
    """A trainer of a tokenizer with few and narrow layers, and without a file of weights."""
    if model.type == 'ssvideo.DalleVAE':
        model.update(hidden_dims=4, num_blocks=1, input_dims=4)
    else:
        model.update(widths=(4,) * len(model.widths), num_blocks=1, code_dims=4)
        model.perceptual = dict(name='resnet18', layers=(0,), random_weights=True)
    return model


@pytest.mark.parametrize(('path', 'size', 'stride', 'vocab_size'), [
    ('configs/tokenizers/dalle_dvae.py', 256, 8, 8192), ('configs/tokenizers/dalle_dvae_video.py', 256, 8, 8192),
    ('configs/tokenizers/peco.py', 224, 16, 8192), ('configs/tokenizers/peco_small.py', 64, 8, 256),
    ('configs/quickstart/tokenizer.py', 64, 8, 32)])
def test_configs__tokenizers_step_when_shrunk(path, size, stride, vocab_size):
    config = Config.fromfile(ROOT / path)
    pipeline = config.train_dataloader.image.dataset.pipeline
    assert [transform['size'] for transform in pipeline if transform['type'] == 'RandomCrop'] == [size]
    model = MODELS.build(shrunk(config.model)).train()
    picture = torch.randint(256, (1, 3, 1, size, size), dtype=torch.uint8)
    inputs = model.data_preprocessor(dict(image=dict(inputs=[picture])))['inputs']
    assert model(inputs).shape == (1, size // stride, size // stride)
    assert model.vocab_size == vocab_size
    model.parse_losses(model(inputs, mode='loss'))[0].backward()
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]


def test_configs__peco_has_the_published_perceptual_network():
    perceptual = Config.fromfile(ROOT / 'configs/tokenizers/peco.py').model.perceptual
    with pytest.raises(FileNotFoundError, match=perceptual.weights):
        PerceptualNetwork(**perceptual)
    perceptual.update(weights=None, prefix='', random_weights=True)
    network = PerceptualNetwork(**perceptual)
    assert [tuple(found.shape) for found in network.features(torch.rand(1, 3, 224, 224))] == [(1, 768, 14, 14)] * 4
    assert network.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406]), "ImageNet's, as self-supervised ViTs saw it"


def test_configs__a_bare_name_of_ours_is_explained():
    config = Config(dict(default_scope='mmaction', model=dict(type='Pretrainer')))
    with pytest.raises(ValueError, match=r'config.model.type.*did you mean ssvideo.Pretrainer'):
        check_names(config)


def test_registry__a_misspelt_name_is_explained():
    with pytest.raises(KeyError, match='did you mean ssvideo.TubeMasker'):
        MODELS.build(dict(type='ssvideo.TubeMaskr'))
    assert MODELS.build(dict(type='TubeMasker')), 'a bare name of ours is found inside our own components'
