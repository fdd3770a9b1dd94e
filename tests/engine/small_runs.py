"""Trainings of a fraction of a second that have all that a checkpoint must carry."""
from __future__ import annotations

import os
import time

import torch
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

import ssvideo.engine  # noqa: F401


class Noise(Dataset):
    """Ten entries; what a draw shows depends on its number, as with our data sets."""
    seed = None

    def __len__(self):
        return 10

    def __getitem__(self, key):
        index, draw = key
        return torch.rand(4, generator=torch.Generator().manual_seed(1000 * self.seed + 10 * draw + index))


class Net(BaseModel):
    """Two streams, dropout and batch norm."""

    def __init__(self):
        super().__init__()
        self.norm, self.layer = nn.BatchNorm1d(4), nn.Linear(4, 3)

    def forward(self, mode='tensor', **batch):
        return {f'{name}_loss': nn.functional.dropout(self.layer(self.norm(torch.stack(part))), 0.5).square().mean()
                for name, part in batch.items()}


def small_runner(folder, workers=0, streams=('video', 'image'), checkpoint=None, **arguments):
    """Three epochs of four batches of two videos and three images."""
    torch.manual_seed(0)
    DefaultScope._instance_dict.clear()
    processes = int(os.environ.get('WORLD_SIZE', 1))
    loaders = {name: dict(dataset=Noise(), batch_size=size, num_workers=workers, persistent_workers=workers > 0,
                          sampler=dict(type='ssvideo.DrawSampler', num_draws=4 * size * processes))
               for name, size in (('video', 2), ('image', 3)) if name in streams}
    plain = dict(
        train_dataloader=loaders, train_cfg=dict(type='ssvideo.StreamTrainLoop', max_epochs=3),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)), randomness=dict(seed=7), log_level='ERROR',
        default_hooks=dict(logger=dict(type='ssvideo.LoggerHook', interval=1),
                           checkpoint=dict(type='ssvideo.CheckpointHook') | (checkpoint or {})))
    return Runner(Net(), str(folder), default_scope='mmaction', experiment_name=f'{folder}{time.monotonic_ns()}',
                  **plain | arguments)
