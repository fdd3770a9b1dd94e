"""The masker fulfils its contract, hides what it says and trains."""
import random
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from my_plugin import MyPlugin
from ssvideo.contracts import check_masker
from ssvideo.evaluation.random_batches import random_batch
from ssvideo.models.tokenizers import DalleVAE
from ssvideo.registry import MODELS


@pytest.mark.parametrize('temporal_stride', [1, 2])
def test_my_plugin__fulfils_the_contract(temporal_stride):
    check_masker(MyPlugin(temporal_stride=temporal_stride))


def test_my_plugin__hides_a_share_of_the_cells_in_every_frame():
    masks = MyPlugin(mask_ratio=0.7)((4, 6, 10), 5, random.Random(0))
    assert (masks.flatten(2).sum(2) == 42).all()
    assert (masks == masks[:, :1]).all()


def test_my_plugin__refuses_an_impossible_share():
    with pytest.raises(ValueError, match='mask_ratio'):
        MyPlugin(mask_ratio=1.0)


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
        losses = model(**model.data_preprocessor(batch), mode='loss')
        optimizer.zero_grad()
        losses['video_mvm_loss'].backward()
        optimizer.step()
        history.append(losses['video_mvm_loss'].item())
    assert losses['video_mask_ratio'] == 0.75
    assert history[-1] < history[0]
