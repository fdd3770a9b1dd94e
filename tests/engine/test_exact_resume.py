"""A run that ends at any iteration and is resumed is the run that was never interrupted, bit for bit."""
from __future__ import annotations

import itertools
import os
import signal
import tempfile
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.dist import barrier
from mmengine.hooks import Hook

from ssvideo.engine.checkpoint_files import INTERRUPTED, newest_checkpoint
from ssvideo.engine.launch import train_until_stopped
from tests.engine.small_runs import small_runner

ITER_BASED = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=5),
              dict(type='CosineAnnealingLR', T_max=3, convert_to_iter_based=True)]
BY_EPOCH = [dict(type='MultiStepLR', milestones=[1, 2], gamma=0.5)]
EMA = dict(type='EMAHook', momentum=0.1, interval=2, update_buffers=True)


class Record(Hook):
    """Keeps the losses of all steps by iteration, and ends the run after so many, without saving."""
    priority = 'LOWEST'

    def __init__(self, stop):
        self.stop, self.losses = stop, {}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses[runner.iter] = outputs['loss'].item()
        if runner.iter + 1 == self.stop:
            raise KeyboardInterrupt


class Signal(Hook):
    """Sends SIGTERM to its own process in an iteration."""

    def __init__(self, iteration):
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            os.kill(os.getpid(), signal.SIGTERM)


def train(folder, stop=None, workers=0, streams=('video', 'image'), wrapper='OptimWrapper', accumulate=2, schedule=ITER_BASED,
          by_epoch=False, hooks=(EMA,), **arguments):
    """Three epochs of four batches (of two videos and three images); resumes from the folder where it can."""
    template = 'epoch_{}.pth' if by_epoch else 'iter_{}.pth'
    newest, passed_over = newest_checkpoint(Path(folder), template)
    assert not passed_over
    record = Record(stop)
    runner = small_runner(
        folder, workers, streams, custom_hooks=[*hooks, record], param_scheduler=schedule,
        optim_wrapper=dict(type=wrapper, optimizer=dict(type='AdamW', lr=0.1), accumulative_counts=accumulate,
                           clip_grad=dict(max_norm=1.0)),
        checkpoint=dict(interval=1 if by_epoch else 3, by_epoch=by_epoch, max_keep_ckpts=1),
        load_from=newest and str(newest), resume=newest is not None, **arguments)
    try:
        train_until_stopped(runner)
    except KeyboardInterrupt:
        assert stop
    except SystemExit as end:
        assert end.code == 128 + signal.SIGTERM
    barrier()  # the first process writes while the others go on
    newest, _ = newest_checkpoint(Path(folder), template)
    return record.losses, newest and torch.load(newest, weights_only=True)


def leaves(state, place=''):
    """Values of a nested state by their place."""
    if isinstance(state, (dict, list, tuple)):
        for key, value in state.items() if isinstance(state, dict) else enumerate(state):
            yield from leaves(value, f'{place}.{key}')
    else:
        yield place, state


def assert_same_run(whole, parts):
    """All steps of the parts, and the last state, are those of the whole run."""
    losses, state = whole
    for part, _ in parts:
        assert part == {number: losses[number] for number in part}
    assert set(losses) == set().union(*(part for part, _ in parts))
    for kind in ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers'):
        expected, found = (dict(leaves(one.get(kind, {}))) for one in (state, parts[-1][1]))
        assert expected.keys() == found.keys()
        for place, value in expected.items():
            same = torch.equal(value, found[place]) if isinstance(value, torch.Tensor) else value == found[place]
            assert same, f'{kind}{place}'


@pytest.mark.parametrize('case', [
    dict(), dict(workers=1), dict(streams=('video',)), dict(accumulate=1, hooks=()), dict(wrapper='ssvideo.AutocastOptimWrapper'),
    dict(wrapper='ssvideo.AutocastOptimWrapper', workers=1, schedule=BY_EPOCH), dict(schedule=BY_EPOCH, by_epoch=True),
    dict(accumulate=4)], ids=str)
def test_exact_resume__one_process(tmp_path, case):
    whole = train(tmp_path / 'whole', **case)
    assert len(whole[0]) == 12
    for stop in (5, 8):
        folder = tmp_path / f'cut_{stop}'
        parts = [train(folder, stop, **case)]
        begins = [path.name for path in folder.glob('*.pth')]
        parts.append(train(folder, **case))
        assert len(begins) == 1
        assert min(parts[1][0]) > 0, 'it went on, rather than starting anew'
        assert_same_run(whole, parts)


def test_exact_resume__interrupted_again_and_again(tmp_path):
    whole = train(tmp_path / 'whole')
    stops = (4, 5, 7, 8, 9, 11, 12)
    assert_same_run(whole, [*(train(tmp_path / 'cut', stop) for stop in stops), train(tmp_path / 'cut')])


def test_exact_resume__a_signal_saves_at_the_optimiser_step_and_ends(tmp_path):
    whole = train(tmp_path / 'whole')
    before = signal.getsignal(signal.SIGTERM)
    asked = [train(tmp_path / 'asked', hooks=(EMA, Signal(6)))]
    assert max(asked[0][0]) == 7 and (tmp_path / 'asked' / INTERRUPTED).exists()
    assert signal.getsignal(signal.SIGTERM) is before
    asked.append(train(tmp_path / 'asked'))
    assert min(asked[1][0]) == 8
    assert_same_run(whole, asked)
    assert [path.name for path in (tmp_path / 'asked').glob('*.pth')] == ['iter_12.pth'], 'the regular one took its place'


def one_of_two_processes(rank, folder):
    """The whole run, a part, and the rest, on two processes."""
    torch.set_num_threads(1)
    os.environ.update(LOCAL_RANK=str(rank), WORLD_SIZE='2')
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    wrapping = dict(launcher='pytorch', cfg=dict(model_wrapper_cfg=dict(
        type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)))
    whole = train(f'{folder}/whole', **wrapping)
    parts = [train(f'{folder}/cut', stop, workers=1, **wrapping) for stop in (5, 10, None)]
    asked = [train(f'{folder}/asked', hooks=hooks, **wrapping) for hooks in ((EMA, Signal(4)) if rank else (EMA,), (EMA,))]
    torch.save((whole, parts, asked), f'{folder}/{rank}.pth')
    dist.destroy_process_group()


def test_exact_resume__two_processes():
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(one_of_two_processes, args=(folder,), nprocs=2)
        found = [torch.load(f'{folder}/{rank}.pth', weights_only=True) for rank in range(2)]
    for whole, parts, asked in found:
        assert len(whole[0]) == 12
        assert_same_run(whole, parts)
        # one of them was asked to end, in iteration 4: it tells the other after the step, and both end after the next
        assert (max(asked[0][0]), min(asked[1][0])) == (7, 8)
        assert_same_run(whole, asked)
    first, second = (losses for (losses, _), *_ in found)
    assert all(first[number] != second[number] for number in range(12)), 'each rank draws and drops out something else'


def test_exact_resume__saves_at_the_end_of_the_optimiser_step_in_which_the_interval_ends(tmp_path):
    written = []
    for stop in range(1, 13):
        train(tmp_path / str(stop), stop, accumulate=2)
        written.append([int(path.stem[5:]) for path in (tmp_path / str(stop)).glob('iter_*.pth')])
    assert written == [[], [], [], *([[4]] * 2), *([[6]] * 4), *([[10]] * 2), [12]]


def test_exact_resume__the_steps_of_an_epoch_are_drawn_once(tmp_path):
    """Two passes over the data, and no draw twice, however the run was cut."""
    losses = train(tmp_path / 'whole', hooks=(), accumulate=1)[0]
    assert all(a != b for a, b in itertools.combinations(losses.values(), 2))
