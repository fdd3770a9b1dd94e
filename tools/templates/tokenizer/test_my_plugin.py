"""The tokenizer fulfils its contract, agrees with a slow reference and trains."""
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from my_plugin import MyPlugin
from ssvideo.contracts import check_tokenizer
from ssvideo.evaluation.random_batches import random_batch
from ssvideo.registry import MODELS


@pytest.mark.parametrize('arguments', [dict(), dict(levels=2, cell=4)])
def test_my_plugin__fulfils_the_contract(arguments):
    check_tokenizer(MyPlugin(**arguments))


def test_my_plugin__matches_a_slow_reference():
    pixels = torch.rand(2, 3, 3, 8, 12)
    tokens = MyPlugin(levels=4, cell=4)(pixels)
    for n, t, h, w in [(0, 0, 0, 0), (1, 2, 1, 2), (0, 1, 1, 0)]:
        cell = pixels[n, :, t, 4 * h:4 * h + 4, 4 * w:4 * w + 4]
        red, green, blue = (round(3 * float(channel.mean())) for channel in cell)
        assert tokens[n, t, h, w] == 16 * red + 4 * green + blue


def test_my_plugin__decodes_every_id_to_a_colour_that_it_tokenizes_back():
    tokenizer = MyPlugin(levels=3, cell=2)
    ids = torch.arange(27).view(1, 1, 3, 9)
    assert torch.equal(tokenizer(tokenizer.decode(ids)), ids)


def test_my_plugin__refuses_one_level():
    with pytest.raises(ValueError, match='levels'):
        MyPlugin(levels=1)


def test_my_plugin__trains():
    torch.manual_seed(0)
    cfg = Config.fromfile(Path(__file__).with_name('config.py'))
    model = MODELS.build(cfg.model)
    batch = random_batch(model, cfg.train_dataloader, batch_size=2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    history = []
    for _ in range(4):
        loss = model(**model.data_preprocessor(batch), mode='loss')['video_mvm_loss']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < history[0]
