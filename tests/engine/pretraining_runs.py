"""A pre-training run of VIMPAC's kind, with the hooks that every recipe has, in a fraction of a second."""
from __future__ import annotations

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import Dataset

import ssvideo.engine  # noqa: F401
import ssvideo.models  # noqa: F401

ROOT = Path(__file__).parents[2]
GRID, VOCAB, NUM_VIDEOS = (2, 3, 3), 16, 64


class Pairs(Dataset):
    """Two clips of tokens of each video, the second much like the first; 12 of the 16 ids occur."""
    seed = 0

    def __len__(self):
        return NUM_VIDEOS

    def describe(self, index):
        return dict(filename=f'videos/{index}.mp4')

    def __getitem__(self, key):
        generator = torch.Generator().manual_seed(key[0])
        first = torch.randint(12, GRID, generator=generator)
        second = first.where(torch.rand(GRID, generator=generator) < 0.7, torch.randint(12, GRID, generator=generator))
        return dict(tokens=torch.stack([first, second]))


MODEL = dict(
    type='ssvideo.Pretrainer',
    backbone=dict(type='ssvideo.DividedTransformer', grid=GRID, vocab_size=VOCAB, embed_dims=16, num_layers=1, num_heads=2),
    maskers=dict(video=dict(type='ssvideo.BlockMasker', num_blocks=2)),
    objectives=dict(mlm=dict(type='ssvideo.MLM'), nce=dict(type='ssvideo.InfoNCE', hidden_dims=12, out_dims=6)))


class Poison(Hook):
    """Sets a weight's gradient to NaN in some iterations (from 0), by a hook on the backward pass.

    Args:
        iterations: which.
        rank: the process on which it happens; None for all.
    """

    def __init__(self, iterations, rank=None):
        self.iterations, self.rank = iterations, rank

    def before_train(self, runner):
        weight = next(parameter for name, parameter in runner.model.named_parameters() if 'transform.0.weight' in name)
        here = self.rank in (None, runner.rank)
        weight.register_hook(
            lambda gradient: gradient * float('nan') if here and runner.iter in self.iterations else gradient)


class Outputs(Hook):
    """Keeps what every step returned, and the weights after it."""

    def __init__(self):
        self.outputs, self.weights = [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.outputs.append({name: value.item() for name, value in outputs.items()})
        self.weights.append(torch.cat([parameter.detach().flatten().clone() for parameter in runner.model.parameters()]))


def pretraining_run(work_dir, interval=4, max_epochs=2, hooks=(), default_hooks=None, batch_size=4, name='',
                    optim_wrapper=None, **changes):
    """A runner of epochs of 16 steps, on one process, with the default hooks of all recipes.

    Args:
        work_dir: of the run.
        interval: of the log.
        max_epochs: passes over the 64 videos.
        hooks: more of them.
        default_hooks: changes; None takes one away.
        batch_size: videos.
        name: sets runs of one folder apart.
        optim_wrapper: changes; the optimiser is a fused AdamW, which leaves steps out on the device.
        changes: other arguments of the runner.
    """
    runtime = Config.fromfile(ROOT / 'configs/_base_/runtime.py')
    runtime.default_hooks.logger.interval = runtime.log_processor.window_size = interval
    default_hooks = {key: hook for key, hook in (runtime.default_hooks.to_dict() | (default_hooks or {})).items()
                     if hook or key in ('checkpoint', 'logger')}  # mmengine takes None for its own only
    wrapper = dict(type='ssvideo.GuardedOptimWrapper', clip_grad=dict(max_norm=1.0),
                   optimizer=dict(type='AdamW', lr=1e-2, fused=True), paramwise_cfg=dict(bypass_duplicate=True))
    torch.manual_seed(0)
    arguments = dict(
        model=MODEL, work_dir=str(work_dir), launcher='none', log_level='WARNING', randomness=dict(seed=3),
        experiment_name=f'{work_dir}{name}', default_scope='mmaction',
        train_dataloader=dict(dataset=Pairs(), batch_size=batch_size, num_workers=0, sampler=dict(type='ssvideo.DrawSampler')),
        train_cfg=dict(type='ssvideo.StreamTrainLoop', max_epochs=max_epochs), optim_wrapper=wrapper | (optim_wrapper or {}),
        default_hooks=default_hooks, custom_hooks=list(hooks), log_processor=runtime.log_processor.to_dict(),
        visualizer=dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')]),
        cfg=dict(model_wrapper_cfg=dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)))
    return Runner(**arguments | changes)
