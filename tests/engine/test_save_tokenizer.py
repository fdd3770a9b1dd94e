from __future__ import annotations

import pytest
import torch
from mmengine.runner import Runner
from torch import nn

from ssvideo.engine.hooks.save_tokenizer import SaveTokenizerHook
from ssvideo.models.tokenizers import DalleTokenizer, DalleVAE


def test_save_tokenizer_hook__writes_what_was_trained(tmp_path):
    pictures = torch.randint(0, 256, (8, 1, 3, 1, 16, 16), dtype=torch.uint8)
    runner = Runner(
        DalleVAE(vocab_size=8, hidden_dims=8, num_blocks=1), str(tmp_path),
        train_dataloader=dict(dataset=[dict(inputs=picture) for picture in pictures], batch_size=4,
                              sampler=dict(type='DefaultSampler', shuffle=True), collate_fn=dict(type='pseudo_collate')),
        train_cfg=dict(by_epoch=False, max_iters=3), optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
        custom_hooks=[SaveTokenizerHook(out='tokenizer.safetensors')], default_hooks=dict(checkpoint=None),
        experiment_name=f'save_tokenizer_{tmp_path.name}')
    before = runner.model.encoder.stem.weight.clone()
    runner.train()
    tokenizer = DalleTokenizer(tmp_path / 'tokenizer.safetensors')
    trained = runner.model.encoder.stem.weight
    assert torch.equal(tokenizer.encoder.stem.weight, trained)
    assert not torch.equal(before, trained)
    assert tokenizer.decode(tokenizer(pictures[0] / 255)).shape == (1, 3, 1, 16, 16)
    assert runner.model.schedule()[0] < 1 / 16 + 0.3  # the schedules knew the length of the training


def test_save_tokenizer_hook__refuses_other_models():
    runner = type('Runner', (), {'model': nn.Linear(1, 1)})
    with pytest.raises(ValueError, match='Linear makes no tokenizer'):
        SaveTokenizerHook().before_train(runner)
