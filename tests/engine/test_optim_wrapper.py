"""Optimiser steps with bad numbers, beside steps without."""
from __future__ import annotations

import os
import tempfile

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.optim import OptimWrapper
from torch import nn

from ssvideo.engine.optim_wrapper import GuardedOptimWrapper

ADAMW = dict(lr=0.1, weight_decay=0.1)
OPTIMIZERS = {
    'fused AdamW': lambda parameters: torch.optim.AdamW(parameters, fused=True, **ADAMW),
    'AdamW': lambda parameters: torch.optim.AdamW(parameters, **ADAMW),
    'SGD': lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9)}
CLIPS = [None, dict(max_norm=0.3), dict(max_norm=0.3, norm_type=1), dict(type='value', clip_value=0.01)]


class Net(nn.Module):
    """Two layers, with statistics that move in every forward."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm, self.last = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 1)
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return self.last(self.norm(self.first(x)).relu()).square().mean()


def inputs(num, size=5):
    return torch.randn(num, size, 4, generator=torch.Generator().manual_seed(1))


def build(wrapper, optimizer, clip, counts=1, num=8):
    model = Net()
    wrapped = wrapper(OPTIMIZERS[optimizer](model.parameters()), accumulative_counts=counts, clip_grad=clip and dict(clip))
    wrapped.initialize_count_status(model, 0, num)
    return model, wrapped


def train(wrapper, optimizer, clip, counts=1, bad=(), poison=lambda x: x * float('nan')):
    """Eight iterations; those in ``bad`` are given poisoned clips."""
    model, wrapped = build(wrapper, optimizer, clip, counts)
    for index, x in enumerate(inputs(8)):
        with wrapped.optim_context(model):
            loss = model(poison(x) if index in bad else x)
        wrapped.update_params(loss)
    return model, wrapped


def state_of(model, wrapped):
    moments = wrapped.optimizer.state_dict()['state']
    return {**model.state_dict(), **{f'{index} {name}': value for index, one in moments.items() for name, value in one.items()}}


@pytest.mark.parametrize('optimizer', OPTIMIZERS)
@pytest.mark.parametrize('clip', CLIPS)
@pytest.mark.parametrize('counts', [1, 3])
def test_guarded__where_all_is_finite_it_is_mmengines_bit_for_bit(optimizer, clip, counts):
    expected, found = (state_of(*train(wrapper, optimizer, clip, counts)) for wrapper in (OptimWrapper, GuardedOptimWrapper))
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize('optimizer', OPTIMIZERS)
@pytest.mark.parametrize('poison', [lambda x: x * float('nan'), lambda x: x * float('inf'), lambda x: x + 1e30],
                         ids=['nan', 'inf', 'overflow'])
def test_guarded__a_bad_step_leaves_everything_as_it_was(optimizer, poison):
    """As if the bad iterations had not been: weights, moments, step counts and batch norm's statistics."""
    model, wrapped = build(GuardedOptimWrapper, optimizer, dict(max_norm=1.0))
    for index, x in enumerate(inputs(8)):
        if index not in (2, 5, 6):
            wrapped.update_params(model(x))
    found_model, found = train(GuardedOptimWrapper, optimizer, dict(max_norm=1.0), bad=(2, 5, 6), poison=poison)
    expected, found_state = state_of(model, wrapped), state_of(found_model, found)
    for name, value in expected.items():
        assert torch.equal(found_state[name], value), name
    assert found.skipped == 3 and found.skipped_in_row == 0


def test_guarded__a_bad_first_step_of_sgd_with_momentum():
    found = train(GuardedOptimWrapper, 'SGD', None, bad=(0,))[1]
    assert found.skipped == 1
    assert all(one['momentum_buffer'].isfinite().all() for one in found.optimizer.state_dict()['state'].values())


def test_guarded__counts_those_in_a_row():
    assert train(GuardedOptimWrapper, 'AdamW', None, bad=(1, 4, 5, 6, 7))[1].skipped_in_row == 4


def test_guarded__one_bad_part_leaves_out_the_accumulated_step():
    model, found = train(GuardedOptimWrapper, 'fused AdamW', None, counts=4, bad=(1,))
    assert found.skipped == 1 and found.skipped_in_row == 0
    assert found.optimizer.state_dict()['state'][1]['step'] == 1  # the other whole step


def test_guarded__a_loss_without_a_bad_gradient_is_left_out_as_well():
    """The cross entropy of an impossible class is infinite, and its gradient is not."""
    model, wrapped = build(GuardedOptimWrapper, 'AdamW', None)
    before = model.first.weight.clone()
    scores = model.last(model.norm(model.first(inputs(1)[0])))
    scores = torch.cat([scores, torch.full_like(scores, float('-inf'))], 1)
    loss = nn.functional.cross_entropy(scores, torch.ones(5, dtype=torch.long))
    assert loss == float('inf') and torch.autograd.grad(loss, model.last.bias, retain_graph=True)[0].isfinite()
    wrapped.update_params(loss)
    assert wrapped.skipped == 1 and torch.equal(model.first.weight, before)


def test_guarded__norms_of_the_parts():
    model, wrapped = build(GuardedOptimWrapper, 'SGD', dict(max_norm=1e-3))
    for x in inputs(2):
        model.zero_grad()
        loss = model(x)
        expected = torch.autograd.grad(loss, model.first.parameters(), retain_graph=True)
        wrapped.update_params(loss)
    now, before = wrapped.norms_by_part()
    assert now == before and list(now.values()) == sorted(now.values(), reverse=True) and len(now) == 6
    joined = torch.cat([gradient.flatten() for gradient in expected]).norm()
    assert (now['first.weight'] ** 2 + now['first.bias'] ** 2) ** 0.5 == pytest.approx(joined.item())
    assert wrapped.grad_norm.item() == pytest.approx(sum(norm ** 2 for norm in now.values()) ** 0.5), 'before clipping'
    wrapped.update_params(model(inputs(1)[0] * float('nan')))
    assert wrapped.norms_by_part()[1] == before and wrapped.norms_by_part()[0]['first.weight'] != now['first.weight']


def one_of_two_processes(rank, folder):
    torch.set_num_threads(1)
    os.environ['LOCAL_RANK'] = str(rank)
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    for optimizer in ('fused AdamW', 'SGD'):
        for counts in (1, 2):
            model = Net()
            del model.unused
            ddp = nn.parallel.DistributedDataParallel(model, broadcast_buffers=False)
            wrapped = GuardedOptimWrapper(OPTIMIZERS[optimizer](ddp.parameters()), counts, dict(max_norm=1.0))
            wrapped.initialize_count_status(model, 0, 8)
            in_row = []
            for index, x in enumerate(inputs(16)[rank::2]):
                bad = (rank, index) in ((1, 3), (0, 4), (0, 5))
                with wrapped.optim_context(ddp):
                    loss = ddp(x * float('nan') if bad else x)
                wrapped.update_params(loss)
                in_row.append(wrapped.skipped_in_row.item())
            torch.save(dict(in_row=torch.tensor(in_row), skipped=wrapped.skipped, **dict(model.named_parameters())),
                       f'{folder}/{optimizer} {counts} {rank}.pth')
    dist.destroy_process_group()


def test_guarded__bad_numbers_of_one_process_are_left_out_on_both():
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(one_of_two_processes, args=(folder,), nprocs=2)
        for optimizer in ('fused AdamW', 'SGD'):
            for counts, in_row in ((1, [0, 0, 0, 1, 2, 3, 0, 0]), (2, [0, 0, 0, 1, 1, 2, 2, 0])):
                first, second = (torch.load(f'{folder}/{optimizer} {counts} {rank}.pth', weights_only=True) for rank in range(2))
                assert first['in_row'].tolist() == second['in_row'].tolist() == in_row
                assert first['skipped'] == second['skipped'] == max(in_row)
                for name, value in first.items():
                    assert value.isfinite().all() and torch.equal(value, second[name]), name
