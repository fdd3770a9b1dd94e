"""The backbone fulfils its contract, looks at neighbours only and trains."""
from pathlib import Path

import torch
from mmengine.config import Config

from my_plugin import MyPlugin
from ssvideo.contracts import check_backbone
from ssvideo.evaluation.random_batches import random_batch
from ssvideo.models.tokenizers import DalleVAE
from ssvideo.registry import MODELS


def test_my_plugin__fulfils_the_contract():
    torch.manual_seed(0)
    check_backbone(MyPlugin(embed_dims=8, depths=(1, 1)), torch.randn(2, 3, 4, 32, 32), grid=(4, 4, 4))


def test_my_plugin__sees_as_far_as_its_blocks_reach():
    backbone = MyPlugin(embed_dims=8, depths=(1, 0))
    clip = torch.randn(1, 3, 8, 64, 64)
    other = clip.clone()
    other[..., -8:] += 1.0  # the last column of cells
    first, second = backbone(clip).maps[0], backbone(other).maps[0]
    assert torch.equal(first[:, :, :, :-2], second[:, :, :, :-2]), 'one block reaches one cell'
    assert not torch.allclose(first[:, :, :, -2], second[:, :, :, -2])


def test_my_plugin__takes_images():
    features = MyPlugin(embed_dims=8)(torch.randn(2, 3, 1, 32, 48))
    assert [tuple(found.shape) for found in features.maps] == [(2, 1, 4, 6, 8), (2, 1, 2, 3, 16)]


def test_my_plugin__trains(tmp_path):
    torch.manual_seed(0)
    cfg = Config.fromfile(Path(__file__).with_name('config.py'))
    cfg.model.tokenizer.checkpoint = str(tmp_path / 'tokenizer.safetensors')
    DalleVAE(vocab_size=32, hidden_dims=8, num_blocks=1).save_tokenizer(cfg.model.tokenizer.checkpoint)
    model = MODELS.build(cfg.model)
    batch = random_batch(model, cfg.train_dataloader, batch_size=2)
    optimizer = torch.optim.AdamW([parameter for parameter in model.parameters() if parameter.requires_grad], lr=1e-3)
    history = []
    for _ in range(4):
        loss = model(**model.data_preprocessor(batch), mode='loss')['video_mvm_loss']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < history[0]
