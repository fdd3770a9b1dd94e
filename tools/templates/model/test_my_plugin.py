"""The model fulfils its contract, its teacher follows and its student learns."""
from pathlib import Path

import torch
from mmengine.config import Config

import my_plugin  # noqa: F401
from ssvideo.contracts import check_model
from ssvideo.evaluation.random_batches import random_batch
from ssvideo.registry import MODELS

CONFIG = Config.fromfile(Path(__file__).with_name('config.py'))


def small_model():
    torch.manual_seed(0)
    config = CONFIG.model.copy()
    config.backbone = dict(config.backbone, embed_dims=8, depths=(1, 1, 1))
    model = MODELS.build(config)
    return model, random_batch(model, CONFIG.train_dataloader, batch_size=2)


def test_my_plugin__fulfils_the_contract():
    check_model(*small_model())


def test_my_plugin__teacher_follows_the_student():
    model, batch = small_model()
    with torch.no_grad():
        model.backbone.norm.weight.add_(1.0)
    model.train()(**model.data_preprocessor(batch), mode='loss')
    assert torch.allclose(model.teacher.norm.weight, torch.full_like(model.teacher.norm.weight, 1.01))
    model.eval()(**model.data_preprocessor(batch), mode='loss')
    assert torch.allclose(model.teacher.norm.weight, torch.full_like(model.teacher.norm.weight, 1.01)), 'in training only'


def test_my_plugin__trains():
    model, batch = small_model()
    optimizer = torch.optim.AdamW([parameter for parameter in model.parameters() if parameter.requires_grad], lr=1e-3)
    history = []
    for _ in range(6):
        losses = model(**model.data_preprocessor(batch), mode='loss')
        total = losses['video_loss_cells'] + losses['video_loss_summary']
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        history.append(total.item())
    assert history[-1] < history[0]
