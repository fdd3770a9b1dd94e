"""The objective fulfils its contract, agrees with a slow reference and trains."""
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from my_plugin import MyPlugin
from ssvideo.contracts import check_objective
from ssvideo.contracts.companions import BrightnessIds, MeanColours, companion_backbones, inputs_of, masked_of
from ssvideo.evaluation.random_batches import random_batch
from ssvideo.models.tokenizers import DalleVAE
from ssvideo.registry import MODELS


def test_my_plugin__fulfils_the_contract():
    torch.manual_seed(0)
    for backbone in companion_backbones():
        masked = masked_of(BrightnessIds(), (4, 4, 4))
        check_objective(MyPlugin(backbone, BrightnessIds()), backbone(inputs_of(backbone), masked.mask), masked)


def test_my_plugin__matches_a_slow_reference():
    torch.manual_seed(0)
    backbone, masked = companion_backbones()[1], masked_of(BrightnessIds(), (4, 4, 4))
    objective, features = MyPlugin(backbone, BrightnessIds(), label_smoothing=0.2), backbone(inputs_of(backbone), masked.mask)
    losses = []
    for n, t, h, w in masked.mask.nonzero().tolist():
        scores = objective.classifier(objective.norm(features.maps[-1][n, t, h, w])).log_softmax(0)
        losses.append(-0.8 * scores[masked.tokens[n, t, h, w]] - 0.2 * scores.mean())
    assert torch.allclose(objective(features, masked)['loss'], torch.stack(losses).mean(), atol=1e-5)


def test_my_plugin__refuses_vectors():
    with pytest.raises(ValueError, match='MeanColours makes none'):
        MyPlugin(companion_backbones()[0], MeanColours())


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
        loss = model(**model.data_preprocessor(batch), mode='loss')['video_smoothed_loss']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < history[0]
