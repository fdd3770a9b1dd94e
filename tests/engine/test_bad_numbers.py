"""Runs whose losses or gradients are not finite, or leap."""
from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope

from ssvideo.engine.hooks import BadNumbersError, BadNumbersHook
from ssvideo.models.objectives import MLM

sys.path.insert(0, str(Path(__file__).parent))
from pretraining_runs import NUM_VIDEOS, Outputs, Poison, pretraining_run  # noqa: E402

EVERY = dict(checkpoint=dict(type='ssvideo.CheckpointHook', by_epoch=False, interval=4, max_keep_ckpts=1))


@pytest.fixture(autouse=True)
def fresh_scope():
    yield
    DefaultScope._instance_dict.clear()


def warnings_of(folder) -> str:
    return ''.join(path.read_text() for path in sorted(Path(folder).glob('*/*.log')))


def test_bad_numbers__a_few_are_left_out_and_counted(tmp_path):
    kept = Outputs()
    runner = pretraining_run(tmp_path, max_epochs=1, hooks=[Poison((5, 6)), kept])
    runner.train()
    assert len(kept.weights) == 16 and all(weights.isfinite().all() for weights in kept.weights)
    assert torch.equal(kept.weights[4], kept.weights[6]) and not torch.equal(kept.weights[6], kept.weights[7])
    assert runner.message_hub.get_scalar('train/skipped_steps').data[0].tolist() == [0, 2, 2, 2]
    lines = [line for line in warnings_of(tmp_path).splitlines() if 'left out' in line]
    assert len(lines) == 1 and '2 optimiser step(s) left out up to iteration 8, 2 in all: a gradient' in lines[0]


class BadLoss(Hook):
    """Makes the loss of MLM infinite in some iterations, without a gradient of its own."""

    def __init__(self, iterations):
        self.iterations = iterations

    def before_train(self, runner):
        def spoil(module, inputs, terms):
            bad = torch.tensor(float('inf') if runner.iter in self.iterations else 0.0)
            return terms | dict(loss=terms['loss'] + bad)

        next(module for module in runner.model.modules() if isinstance(module, MLM)).register_forward_hook(spoil)


def test_bad_numbers__a_loss_is_named_with_its_iterations(tmp_path):
    kept = Outputs()
    pretraining_run(tmp_path, max_epochs=1, hooks=[BadLoss((8, 10)), kept]).train()
    assert torch.equal(kept.weights[7], kept.weights[8]) and torch.equal(kept.weights[9], kept.weights[10])
    assert 'video_mlm_loss not finite in iteration 9, 11' in warnings_of(tmp_path)


def test_bad_numbers__too_many_in_a_row_stop_the_run_with_what_is_needed(tmp_path):
    kept = Outputs()
    runner = pretraining_run(tmp_path, hooks=[BadLoss(range(6, 99)), kept], default_hooks=EVERY | dict(
        bad_numbers=dict(type='ssvideo.BadNumbersHook', max_in_row=5)))
    with pytest.raises(BadNumbersError, match='6 optimiser steps in a row were left out, up to iteration 12') as error:
        runner.train()
    assert 'video_mlm_loss inf' in str(error.value) and 'iter_8.pth' in str(error.value)

    report = json.loads((tmp_path / 'bad_numbers.json').read_text())
    assert report['iteration'] == 12 and report['skipped_in_row'] == 6
    assert 'iter_8.pth' in report['last_checkpoint']
    (process,) = report['processes']
    assert process['losses']['video_mlm_loss'] == ['inf'] * 4
    assert [one['iteration'] for one in process['bad_iterations']] == [9, 10, 11, 12]
    drawn = process['bad_iterations'][-1]['drawn']['video']
    sampler = runner.train_dataloader.sampler
    assert [one['draw'] for one in drawn] == [44, 45, 46, 47], 'the twelfth batch of four'
    assert [one['path'] for one in drawn] == [f'videos/{sampler.entry_of(draw)}.mp4' for draw in range(44, 48)]
    norms = report['last_finite_grad_norms']
    assert list(norms.values()) == sorted(norms.values(), reverse=True)
    assert {'backbone.layers.0', 'objectives.mlm', 'objectives.nce'} <= norms.keys()
    assert set(report['grad_norms'].values()) == {'nan'}

    saved = torch.load(tmp_path / 'iter_8.pth', weights_only=True)
    assert [path.name for path in tmp_path.glob('*.pth')] == ['iter_8.pth']
    weights = torch.cat([saved['state_dict'][name].flatten() for name, _ in runner.model.named_parameters()])
    assert torch.equal(weights, kept.weights[5]), 'those of the last good step'
    assert all(value.isfinite().all() for value in saved['state_dict'].values() if value.is_floating_point())


def test_bad_numbers__a_resumed_run_goes_on_counting(tmp_path):
    pretraining_run(tmp_path, max_epochs=1, hooks=[Poison((5, 6))], default_hooks=EVERY).train()
    DefaultScope._instance_dict.clear()
    runner = pretraining_run(tmp_path, max_epochs=2, hooks=[Poison((20,))], default_hooks=EVERY, resume=True, name='again')
    runner.train()
    assert runner.message_hub.get_scalar('train/skipped_steps').current() == 3


class Leap(Hook):
    """Multiplies the loss of an iteration, where it is logged."""
    priority = 'HIGHEST'

    def __init__(self, iteration, factor):
        self.iteration, self.factor = iteration, factor

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == self.iteration:
            outputs['loss'] *= self.factor


@pytest.mark.parametrize(('factor', 'warns'), [(1.05, False), (4.0, True), (0.2, False), (float('nan'), False)])
def test_bad_numbers__a_spike_warns_in_one_line(factor, warns, tmp_path):
    pretraining_run(tmp_path, hooks=[Leap(26, factor)], optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-5)),
                    default_hooks=dict(bad_numbers=dict(type='ssvideo.BadNumbersHook', window=24))).train()
    lines = [line for line in warnings_of(tmp_path).splitlines() if 'loss spike' in line]
    assert len(lines) == warns
    if warns:
        assert 'in the 4 iterations to 28, where the median of the 24 before is' in lines[0]


class Overflow(Hook):
    """Sets a weight to infinity, as a step of an unguarded optimiser may."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 10:
            runner.model.objectives.mlm.bias.data[0] = float('inf')


def test_bad_numbers__bad_weights_are_never_written(tmp_path):
    message = r"1 of \d+ weights are not finite at iteration 12, such as \['objectives.mlm.bias'\]"
    with pytest.raises(BadNumbersError, match=message):
        pretraining_run(tmp_path, hooks=[Overflow()], default_hooks=EVERY).train()
    assert [path.name for path in tmp_path.glob('*.pth')] == ['iter_8.pth']
    assert not list(tmp_path.glob('*tmp*')) and 'iter_8.pth' in (tmp_path / 'last_checkpoint').read_text()


def test_bad_numbers__another_wrapper_is_warned_of(tmp_path):
    pretraining_run(tmp_path, max_epochs=1, optim_wrapper=dict(type='OptimWrapper')).train()
    assert 'set optim_wrapper.type to ssvideo.GuardedOptimWrapper' in warnings_of(tmp_path)


def test_bad_numbers__wrong_arguments():
    with pytest.raises(ValueError, match='must be positive, got 0'):
        BadNumbersHook(max_in_row=0)


def one_of_two_processes(rank, folder):
    torch.set_num_threads(1)
    os.environ['LOCAL_RANK'] = str(rank)
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    kept, said = Outputs(), ''
    runner = pretraining_run(f'{folder}/run', hooks=[Poison((1, *range(6, 99)), rank=1), kept], launcher='pytorch', batch_size=2,
                       default_hooks=EVERY | dict(bad_numbers=dict(type='ssvideo.BadNumbersHook', max_in_row=5)))
    try:
        runner.train()
    except BadNumbersError as error:
        said = str(error)
    counts = [runner.optim_wrapper.skipped.item(), runner.optim_wrapper.skipped_in_row.item()]
    Path(f'{folder}/{rank}.json').write_text(json.dumps(dict(said=said, counts=counts)))
    torch.save(torch.stack(kept.weights), f'{folder}/{rank}.pth')
    dist.destroy_process_group()


def test_bad_numbers__both_processes_skip_and_stop_alike():
    """NaN on the second of two processes only: counts agree, weights stay equal, and the report has both."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(one_of_two_processes, args=(folder,), nprocs=2)
        found = [json.loads(Path(f'{folder}/{rank}.json').read_text()) for rank in range(2)]
        weights = [torch.load(f'{folder}/{rank}.pth', weights_only=True) for rank in range(2)]
        report = json.loads(Path(f'{folder}/run/bad_numbers.json').read_text())
    assert all('6 optimiser steps in a row were left out, up to iteration 12' in one['said'] for one in found)
    assert found[0]['counts'] == found[1]['counts'] == [7, 6]
    assert torch.equal(*weights) and weights[0].isfinite().all()
    assert len({tuple(step.tolist()) for step in weights[0]}) == 5, 'after the first, third, fourth, fifth and sixth step'
    assert [process['rank'] for process in report['processes']] == [0, 1]
    draws = [one['draw'] for process in report['processes'] for one in process['bad_iterations'][-1]['drawn']['video']]
    assert sorted(draws) == [44, 45, 46, 47] and max(draws) < NUM_VIDEOS
