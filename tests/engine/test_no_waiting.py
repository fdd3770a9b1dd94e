"""A step never makes the host wait for the device: it runs where there is no number to wait for."""
from __future__ import annotations

import sys
from contextlib import nullcontext

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch.optim import Adam
from torch.utils._python_dispatch import TorchDispatchMode

from tests.engine.pretraining_runs import pretraining_run
from tests.engine.step_models import METHODS, model_config, noise

NUM_STEPS = 5


class Batches(torch.utils.data.Dataset):
    """Samples of noise, of one stream."""
    seed = 0

    def __init__(self, method, stream):
        self.method, self.stream = method, stream

    def __len__(self):
        return 64

    def __getitem__(self, key):
        return {name: samples[0] for name, samples in noise(self.method, key[0])[self.stream].items()}


class BlockingCopies(TorchDispatchMode):
    """Notes copies from one device to another for which the host would wait."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default and args[0].device != made.device and not (kwargs or {}).get('non_blocking'):
            self.found.append(f'{tuple(made.shape)} of {made.dtype}')
        elif func is torch.ops.aten.copy_.default and args[0].device != args[1].device and not args[2:]:
            self.found.append(f'into {tuple(args[0].shape)} of {args[0].dtype}')
        return made


class Ends(Hook):
    """Watches the steps after the first, which makes what is kept for all, and ends the run."""
    priority = 'LOWEST'

    def __init__(self):
        self.copies = BlockingCopies()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        assert outputs['loss'].device.type == 'meta'
        if batch_idx == 0:
            self.copies.__enter__()
        if batch_idx + 1 == NUM_STEPS:
            self.copies.__exit__(None, None, None)
            raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def the_device_has_no_numbers(monkeypatch):
    """The device is 'meta', where asking for a value (``item``, ``nonzero``, ``bool``, ``cpu``) is an error."""
    monkeypatch.setattr('mmengine.runner.runner.get_device', lambda: 'meta')
    monkeypatch.setattr('ssvideo.engine.optim_wrapper.get_device', lambda: 'meta')
    monkeypatch.setattr(Runner, '_init_model_weights', lambda self: None)  # it tells means of weights
    # these do not know the device
    monkeypatch.setattr(sys.modules[Adam.__module__], '_device_dtype_check_for_fused', lambda *args, **kwargs: None)
    monkeypatch.setattr(torch, 'autocast', lambda *args, **kwargs: nullcontext())
    yield
    DefaultScope._instance_dict.clear()


@pytest.mark.parametrize('accumulate', [1, 2])
@pytest.mark.parametrize('method', METHODS)
def test_no_waiting__steps_with_all_hooks_of_a_recipe(method, accumulate, tmp_path):
    """Loading, masks, tokenizer, losses, backward, clipping, guarded AdamW and every hook between two logs."""
    ends = Ends()
    sampler = dict(type='ssvideo.DrawSampler')
    runner = pretraining_run(
        tmp_path, interval=100, hooks=[ends], model=model_config(method, tmp_path),
        optim_wrapper=dict(type='ssvideo.AutocastOptimWrapper', accumulative_counts=accumulate),
        train_dataloader={stream: dict(dataset=Batches(method, stream), batch_size=2, num_workers=0, sampler=sampler)
                          for stream in noise(method, 0)},
        param_scheduler=[dict(type='LinearLR', by_epoch=True, begin=0, end=1, convert_to_iter_based=True)])
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    assert runner.iter == NUM_STEPS - 1
    assert not ends.copies.found, 'copies that are not asynchronous'


class Asks(Hook):
    """What must not be."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        outputs['loss'].item()


def test_no_waiting__would_show(tmp_path):
    """The device does refuse to tell a value, and copies are seen."""
    with pytest.raises(RuntimeError, match='meta'):
        pretraining_run(tmp_path, interval=100, hooks=[Asks()]).train()
    with BlockingCopies() as copies:
        torch.ones(3).to('meta')
        torch.ones(3).to('meta', non_blocking=True)
        torch.empty(2, device='meta').copy_(torch.ones(2))
    assert copies.found == ['(3,) of torch.float32', 'into (2,) of torch.float32']
