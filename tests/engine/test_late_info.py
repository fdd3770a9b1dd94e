"""What is logged, and when the device is asked for it."""
from __future__ import annotations

import sys
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from ssvideo.engine.hooks import late_info
from ssvideo.engine.log_steps import to_numbers
from ssvideo.visualization import read_scalars

sys.path.insert(0, str(Path(__file__).parent))
from pretraining_runs import Outputs, pretraining_run  # noqa: E402

STOCK = dict(runtime_info=dict(type='RuntimeInfoHook'), bad_numbers=None, health=None)


@pytest.fixture(autouse=True)
def fresh_scope():
    yield
    DefaultScope._instance_dict.clear()


class DeviceTensors(TorchDispatchMode):
    """Takes whatever is made of the weights for tensors of a device, and notes where the host waits for one."""

    def __init__(self, weights):
        super().__init__()
        self.known, self.waits, self.allowed = WeakTensorKeyDictionary(), [], False
        for weight in weights:
            self.known[weight] = True

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        inputs = [leaf for leaf in tree_leaves((args, kwargs or {})) if isinstance(leaf, torch.Tensor)]
        on_device = [leaf for leaf in inputs if leaf in self.known]
        if on_device and not self.allowed and self._waits(func, args, on_device):
            self.waits.append(''.join(traceback.format_stack(limit=8)))
        outputs = func(*args, **(kwargs or {}))
        if on_device:
            for leaf in tree_leaves(outputs):
                if isinstance(leaf, torch.Tensor):
                    self.known[leaf] = True
        return outputs

    @staticmethod
    def _waits(func, args, on_device):
        if func.overloadpacket in (torch.ops.aten.index, torch.ops.aten.index_put, torch.ops.aten.index_put_):
            indices = [index for index in args[1] if index is not None]
            return any(index.dtype == torch.bool and any(index is leaf for leaf in on_device) for index in indices)
        waiting = 'local_scalar_dense', 'nonzero', 'masked_select', 'unique', 'equal', 'bincount'
        return any(word in func.overloadpacket.__name__ for word in waiting) and 'not_equal' not in str(func)


class WatchSteps(Hook):
    """The mode during the steps between two logs; the host may wait after a step that is logged."""
    priority = 'VERY_HIGH'  # registered after LateInfoHook

    def __init__(self, interval):
        self.interval, self.mode = interval, None

    def before_train(self, runner):
        self.mode = DeviceTensors(runner.model.parameters())
        self.mode.__enter__()

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.mode.allowed = (batch_idx + 1) % self.interval == 0

    def after_train(self, runner):
        self.mode.__exit__(None, None, None)


@pytest.mark.parametrize('kind', ['ssvideo.GuardedOptimWrapper', 'ssvideo.AutocastOptimWrapper'])
def test_training__the_host_does_not_wait_between_two_logs(kind, tmp_path):
    watch = WatchSteps(4)
    pretraining_run(tmp_path, 4, max_epochs=1, hooks=[watch], optim_wrapper=dict(type=kind, accumulative_counts=2),
              default_hooks=dict(checkpoint=None)).train()
    assert not watch.mode.waits, watch.mode.waits[0]


def test_training__the_watch_sees_where_mmengine_waits(tmp_path):
    watch = WatchSteps(4)
    pretraining_run(tmp_path, 4, max_epochs=1, hooks=[watch], optim_wrapper=dict(type='OptimWrapper'),
              default_hooks=dict(STOCK, checkpoint=None)).train()
    assert {'update_scalar', '_clip_grad'} <= {name for wait in watch.mode.waits for name in ('update_scalar', '_clip_grad')
                                               if name in wait}


def test_late_info__logs_what_mmengine_logs(tmp_path):
    """Every loss, metric and norm of the log is equal, bit for bit; and so are the steps."""
    kept = {name: Outputs() for name in ('late', 'stock')}
    pretraining_run(tmp_path / 'late', 5, hooks=[kept['late']]).train()
    DefaultScope._instance_dict.clear()
    pretraining_run(tmp_path / 'stock', 5, hooks=[kept['stock']], optim_wrapper=dict(type='OptimWrapper'),
                    default_hooks=STOCK).train()
    late, stock = (read_scalars(tmp_path / name) for name in ('late', 'stock'))
    assert kept['late'].outputs == kept['stock'].outputs and len(kept['late'].outputs) == 32
    assert all(torch.equal(*pair) for pair in zip(kept['late'].weights, kept['stock'].weights))
    for name, points in stock.items():
        if 'time' not in name:
            assert late[name] == points, name
    assert [step for step, _ in late['loss']] == [5, 10, 15, 16, 21, 26, 31, 32]
    expected = [sum(one['video_mlm_accuracy'] for one in kept['late'].outputs[end - 5:end]) / 5 for end in (5, 10, 15)]
    assert [value for _, value in late['video_mlm_accuracy'][:3]] == pytest.approx(expected), 'means over the interval'
    assert set(late) - set(stock) == {'skipped_steps', 'samples_per_s', 'video_codebook_use', 'video_feature_std',
                                      'video_effective_rank'}


def test_late_info__a_checkpoint_between_two_logs_has_all_steps(tmp_path):
    runner = pretraining_run(tmp_path, 7, max_epochs=1, default_hooks=dict(checkpoint=dict(
        type='ssvideo.CheckpointHook', by_epoch=False, interval=5)))
    runner.train()
    for done in (5, 10, 15):
        saved = torch.load(tmp_path / f'iter_{done}.pth', weights_only=True)['message_hub']['log_scalars']['train/loss']
        assert len(saved['log']) == done


def test_late_info__histories_stay_short(tmp_path, monkeypatch):
    monkeypatch.setattr(late_info, 'NUM_KEPT', 6)
    runner = pretraining_run(tmp_path, 4, max_epochs=1, default_hooks=dict(checkpoint=None))
    runner.train()
    assert {len(buffer.data[0]) for name, buffer in runner.message_hub.log_scalars.items() if 'loss' in name} == {6}


def test_to_numbers__keeps_order_and_bits():
    values = [torch.tensor(0.1), 3, torch.tensor(7), torch.tensor(0.1, dtype=torch.float64), 0.5, torch.tensor(True)]
    assert to_numbers(values) == [float(np.float32(0.1)), 3, 7, 0.1, 0.5, 1]
    assert to_numbers([]) == []
