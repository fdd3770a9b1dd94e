"""Several processes: moments that are shared out, and how gradients are exchanged. Two processes, over gloo."""
from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

from ssvideo.engine import ZeroAdamW
from ssvideo.engine.checkpoint_files import newest_checkpoint
from ssvideo.engine.launch import train_until_stopped
from tests.engine.pretraining_runs import MODEL, Outputs, Poison, pretraining_run
from tests.engine.small_runs import small_runner
from tests.engine.test_exact_resume import EMA, ITER_BASED, Record, Signal, assert_same_run

ROOT = Path(__file__).parents[2]
ADAMW = dict(type='AdamW', lr=0.1, weight_decay=0.01, fused=True)
ZERO = ADAMW | dict(type='ssvideo.ZeroAdamW')
WRAPPER = dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)


def train(folder, optimizer, stop=None, hooks=(EMA,), resume=None):
    """As in test_exact_resume, with groups of parameters that have rates of their own."""
    newest = newest_checkpoint(Path(resume or folder), 'iter_{}.pth')[0]
    record = Record(stop)
    runner = small_runner(
        folder, custom_hooks=[*hooks, record], param_scheduler=ITER_BASED, checkpoint=dict(interval=3, by_epoch=False),
        optim_wrapper=dict(type='ssvideo.GuardedOptimWrapper', optimizer=optimizer, accumulative_counts=2,
                           clip_grad=dict(max_norm=1.0), paramwise_cfg=dict(bias_decay_mult=0.0, norm_decay_mult=0.0)),
        load_from=newest and str(newest), resume=newest is not None, launcher='pytorch', cfg=dict(model_wrapper_cfg=WRAPPER))
    try:
        train_until_stopped(runner)
    except (KeyboardInterrupt, SystemExit):
        assert stop or len(hooks) > 1
    dist.barrier()  # the first process writes while the others go on
    state = torch.load(newest_checkpoint(Path(folder), 'iter_{}.pth')[0], weights_only=True)
    moments = len(getattr(runner.optim_wrapper.optimizer, 'optim', runner.optim_wrapper.optimizer).state)
    return record.losses, state, moments


class Bad(Poison):
    """NaN in the gradient of one process, in the third optimiser step."""

    def __init__(self):
        super().__init__((4,), rank=1)

    def before_train(self, runner):
        weight = next(parameter for name, parameter in runner.model.named_parameters() if name.endswith('layer.weight'))
        here = self.rank == runner.rank
        weight.register_hook(lambda grad: grad * float('nan') if here and runner.iter in self.iterations else grad)


def compare_optimizers(folder, rank):
    """Runs of AdamW and ZeroAdamW, whole, cut, ended by a signal, and one resuming the other."""
    runs = dict(adamw=train(f'{folder}/adamw', ADAMW), whole=train(f'{folder}/whole', ZERO))
    for name, optimizer in dict(bad_adamw=ADAMW, bad_zero=ZERO).items():
        runs[name] = train(f'{folder}/{name}', optimizer, hooks=(EMA, Bad()))
    runs['cut_1'], runs['cut_2'] = train(f'{folder}/cut', ZERO, stop=7), train(f'{folder}/cut', ZERO)
    runs['asked_1'] = train(f'{folder}/asked', ZERO, hooks=(EMA, Signal(4)) if rank else (EMA, Signal(-1)))
    runs['asked_2'] = train(f'{folder}/asked', ZERO)
    train(f'{folder}/half', ADAMW, stop=7)
    runs['from_adamw'] = train(f'{folder}/other', ZERO, resume=f'{folder}/half')
    return runs


def exchange(folder, accumulate, **words):
    """Losses and weights of a pre-training; all batches of an optimiser step are contrasted together."""
    kept = Outputs()
    objectives = MODEL['objectives'] | dict(
        nce=dict(type='ssvideo.InfoNCE', hidden_dims=12, out_dims=6, num_pairs=8 * accumulate))
    runner = pretraining_run(
        folder, max_epochs=1, hooks=[kept], model=MODEL | dict(objectives=objectives), launcher='pytorch',
        optim_wrapper=dict(accumulative_counts=accumulate), default_hooks=dict(checkpoint=None),
        cfg=dict(model_wrapper_cfg=WRAPPER | words))
    runner.train()
    DefaultScope._instance_dict.clear()
    return kept.outputs, kept.weights[-1], runner.model.gradient_as_bucket_view, runner.model.static_graph


def one_of_two_processes(rank, folder):
    torch.set_num_threads(1)
    os.environ.update(LOCAL_RANK=str(rank), WORLD_SIZE='2')
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    runs = compare_optimizers(folder, rank)
    recipe = Config.fromfile(ROOT / 'configs/_base_/runtime.py').model_wrapper_cfg.to_dict()
    exchanges = dict(
        plain_2=exchange(f'{folder}/plain_2', 2), views_2=exchange(f'{folder}/views_2', 2, **recipe),
        plain_1=exchange(f'{folder}/plain_1', 1), views_1=exchange(f'{folder}/views_1', 1, static_graph=True, **recipe))
    torch.save(dict(runs=runs, **exchanges), f'{folder}/{rank}.pth')
    dist.destroy_process_group()


@pytest.fixture(scope='module')
def found():
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(one_of_two_processes, args=(folder,), nprocs=2)
        yield [torch.load(f'{folder}/{rank}.pth', weights_only=True) for rank in range(2)]


def test_zero_adamw__computes_what_adamw_does(found):
    for one in found:
        for expected, zero in (('adamw', 'whole'), ('bad_adamw', 'bad_zero')):
            expected, zero = one['runs'][expected], one['runs'][zero]
            assert_same_run(expected[:2], [zero[:2]])
            assert 0 < zero[2] < expected[2], 'moments of its share only'
        assert one['runs']['bad_zero'][0][11] != one['runs']['whole'][0][11], 'a step was left out'
    assert sum(one['runs']['whole'][2] for one in found) == found[0]['runs']['adamw'][2]


def test_zero_adamw__resumes_exactly(found):
    for one in found:
        runs = {name: run[:2] for name, run in one['runs'].items()}
        assert_same_run(runs['whole'], [runs['cut_1'], runs['cut_2']])
        assert min(runs['cut_2'][0]) > 0, 'it went on, rather than starting anew'
        assert_same_run(runs['whole'], [runs['asked_1'], runs['asked_2']])
        assert max(runs['asked_1'][0]) + 1 == min(runs['asked_2'][0]) < 12
        losses, state = runs['from_adamw']
        assert_same_run(({number: runs['adamw'][0][number] for number in losses}, runs['adamw'][1]), [(losses, state)])


def test_zero_adamw__a_checkpoint_is_adamws(found):
    expected, state = (found[0]['runs'][name][1]['optimizer'] for name in ('adamw', 'whole'))
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3))
    groups = [dict(params=[parameter]) for parameter in model.parameters()]
    optimizer = torch.optim.AdamW(groups)
    optimizer.load_state_dict({key: state[key] for key in ('state', 'param_groups')})
    assert state['state'].keys() == expected['state'].keys() == set(range(4))


def test_zero_adamw__needs_processes():
    with pytest.raises(ValueError, match='started without a launcher: take'):
        ZeroAdamW(nn.Linear(2, 2).parameters())


def test_runtime__gradients_lie_in_the_buckets_and_nothing_changes(found):
    """With accumulation, and a contrast over the batches of two steps and both processes; without, with a static graph."""
    for one in found:
        for accumulate in (1, 2):
            expected, (outputs, weights, *words) = one[f'plain_{accumulate}'], one[f'views_{accumulate}']
            assert words == [True, accumulate == 1] and expected[2:] == (False, False)
            assert outputs == expected[0] and torch.equal(weights, expected[1])
