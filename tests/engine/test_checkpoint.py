"""Checkpoints are there whole or not at all, on a full disk too, and hold nothing but data."""
from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer

from ssvideo.engine.checkpoint_files import INTERRUPTED, newest_checkpoint
from ssvideo.engine.hooks import CheckpointHook
from ssvideo.engine.plain_checkpoint import plain, to_plain, to_runtime
from tests.engine.small_runs import small_runner

BY_ITERATION = dict(by_epoch=False, interval=2, max_keep_ckpts=1)


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_file() and (path.suffix == '.pth' or '.tmp' in path.name))


class Watch(Hook):
    """Notes what is in the folder whenever a file is renamed or deleted."""

    def __init__(self, folder, monkeypatch):
        self.seen = []
        replace, unlink = os.replace, Path.unlink

        def watched_replace(source, target):
            self.seen.append((f'replace {Path(target).name}', names(folder)))
            replace(source, target)

        def watched_unlink(path, missing_ok=False):
            if path.exists():
                self.seen.append((f'unlink {path.name}', names(folder)))
            unlink(path, missing_ok)

        monkeypatch.setattr(os, 'replace', watched_replace)
        monkeypatch.setattr(Path, 'unlink', watched_unlink)


def test_checkpoint__file_then_pointer_then_deletion(tmp_path, monkeypatch):
    watch = Watch(tmp_path, monkeypatch)
    small_runner(tmp_path, checkpoint=BY_ITERATION | dict(interval=6)).train()
    assert watch.seen == [
        ('replace iter_6.pth', ['.iter_6.pth.tmp']), ('replace last_checkpoint', ['.last_checkpoint.tmp', 'iter_6.pth']),
        ('replace iter_12.pth', ['.iter_12.pth.tmp', 'iter_6.pth']),
        ('replace last_checkpoint', ['.last_checkpoint.tmp', 'iter_12.pth', 'iter_6.pth']),
        ('unlink iter_6.pth', ['iter_12.pth', 'iter_6.pth'])]
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'iter_12.pth')


def test_checkpoint__a_resumed_run_deletes_what_a_killed_one_could_not(tmp_path, monkeypatch):
    class Killed(Exception):
        pass

    def killed(path, missing_ok=False):
        if path.name == 'iter_2.pth':
            raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Path, 'unlink', killed)
        small_runner(tmp_path, checkpoint=BY_ITERATION).train()
    (tmp_path / '.iter_6.pth.tmp').write_bytes(b'half')
    assert names(tmp_path) == ['.iter_6.pth.tmp', 'iter_2.pth', 'iter_4.pth']
    small_runner(tmp_path, checkpoint=BY_ITERATION, resume=True, load_from=str(tmp_path / 'iter_4.pth')).train()
    assert names(tmp_path) == ['iter_12.pth']


class FillDisk(Hook):
    """Fills the disk after an iteration, and empties it after another."""

    def __init__(self, folder, full, free):
        self.file, self.full, self.free = folder / 'filling', full, free

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.full:
            with pytest.raises(OSError), open(self.file, 'wb', buffering=0) as file:
                while file.write(bytes(4096)):
                    pass
        elif runner.iter + 1 == self.free:
            self.file.unlink()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB; without the right to mount one, a limit stands in for it."""
    disk = tmp_path / 'disk'
    disk.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip('needs the right to mount a file system')
    yield disk
    subprocess.run(['umount', '-l', str(disk)], check=True)


def test_checkpoint__training_goes_on_while_the_disk_is_full(small_disk, capfd):
    folder = small_disk / 'run'
    folder.mkdir()
    runner = small_runner(folder, checkpoint=BY_ITERATION, custom_hooks=[FillDisk(small_disk, full=5, free=9)])
    states = {}

    class Look(Hook):
        priority = 'LOWEST'

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            states[runner.iter + 1] = names(folder), newest_checkpoint(folder, 'iter_{}.pth')[0].name if runner.iter else None

    runner.register_hook(Look())
    runner.train()
    assert states[5] == (['iter_4.pth'], 'iter_4.pth')
    for iteration in (6, 7, 8, 9):
        assert states[iteration] == (['iter_4.pth'], 'iter_4.pth'), 'the last good one stays, and no half of a file'
    assert states[10] == (['iter_10.pth'], 'iter_10.pth')
    shouted = [line for line in capfd.readouterr().out.splitlines() if 'NO CHECKPOINT' in line]
    assert len(shouted) == 2 and 'No space left' in shouted[0] and 'last good checkpoint is' in shouted[0]


def test_logger__training_goes_on_while_curves_cannot_be_written(tmp_path, monkeypatch, capfd):
    def full(*args, **kwargs):
        raise OSError(28, 'No space left on device')

    runner = small_runner(tmp_path)
    monkeypatch.setattr(runner.visualizer, 'add_scalars', full)
    runner.train()
    assert runner.iter == 12
    assert capfd.readouterr().out.count('CURVES NOT WRITTEN after iteration') == 12


def test_checkpoint__without_the_last_one_a_run_does_not_end_well(tmp_path, monkeypatch):
    def full(source, target):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'replace', full)
    with pytest.raises(RuntimeError, match='its last checkpoint could not be written'):
        small_runner(tmp_path, checkpoint=BY_ITERATION).train()
    assert names(tmp_path) == []


def best_of(tmp_path, scores, **checkpoint):
    """Let the hook see the scores of one validation after the other."""
    runner = small_runner(tmp_path, checkpoint=checkpoint | dict(interval=1, max_keep_ckpts=1, save_best=['acc', 'loss']))
    hook = next(hook for hook in runner.hooks if isinstance(hook, CheckpointHook))

    class Validate(Hook):
        def before_train_epoch(self, runner):
            if runner.epoch:
                hook.after_val_epoch(runner, scores[runner.epoch - 1])

    runner.register_hook(Validate())
    runner.train()
    return runner


def test_checkpoint__the_best_one_is_replaced_after_the_new_one_is_there(tmp_path, monkeypatch):
    watch = Watch(tmp_path, monkeypatch)
    runner = best_of(tmp_path, [dict(acc=0.1, loss=2.0), dict(acc=0.3, loss=3.0)])
    assert names(tmp_path) == ['best_acc_epoch_2.pth', 'best_loss_epoch_1.pth', 'epoch_3.pth']
    deletion = next(seen for what, seen in watch.seen if what == 'unlink best_acc_epoch_1.pth')
    assert {'best_acc_epoch_1.pth', 'best_acc_epoch_2.pth', 'epoch_2.pth'} <= set(deletion)
    info = torch.load(tmp_path / 'epoch_3.pth', weights_only=True)['message_hub']['runtime_info']
    assert info['best_score_acc'] == 0.3 and info['best_ckpt_loss'] == str(tmp_path / 'best_loss_epoch_1.pth')
    assert 'optimizer' not in torch.load(tmp_path / 'best_acc_epoch_2.pth', weights_only=True)
    assert runner.message_hub.get_info('best_score_loss') == 2.0


def test_checkpoint__published_copies_hold_what_is_asked_for(tmp_path):
    best_of(tmp_path, [dict(acc=0.1, loss=2.0)] * 2, published_keys=['state_dict'])
    published = sorted(tmp_path.glob('*-????????.pth'))
    assert [path.name[:-13] for path in published] == ['best_acc_epoch_1', 'best_loss_epoch_1', 'epoch_3']
    assert all(set(torch.load(path, weights_only=True)) == {'state_dict'} for path in published)
    assert newest_checkpoint(tmp_path, 'epoch_{}.pth')[0].name == 'epoch_3.pth', 'a copy without optimiser is not resumed'


def test_checkpoint__refuses_a_remote_folder():
    with pytest.raises(ValueError, match='folders of this file system'):
        CheckpointHook(out_dir='s3://bucket/runs')


def test_checkpoint__an_out_dir_of_its_own(tmp_path):
    work, out = tmp_path / 'work', tmp_path / 'out'
    small_runner(work, checkpoint=BY_ITERATION | dict(out_dir=str(out))).train()
    assert names(out / 'work') == ['iter_12.pth'] and names(work) == []
    assert (work / 'last_checkpoint').read_text() == str(out / 'work' / 'iter_12.pth')


def test_newest_checkpoint__passes_over_broken_ones(tmp_path):
    small_runner(tmp_path, checkpoint=BY_ITERATION | dict(max_keep_ckpts=-1, interval=3)).train()
    content = (tmp_path / 'iter_9.pth').read_bytes()
    cut, flipped = tmp_path / 'iter_20.pth', tmp_path / INTERRUPTED
    cut.write_bytes(content[:len(content) // 2])
    flipped.write_bytes(content.replace(b'message_hub', b'message_hut', 1))  # torch alone would not see it
    (tmp_path / 'iter_30.pth').write_bytes(b'')
    (tmp_path / '.iter_40.pth.tmp').write_bytes(content)
    (tmp_path / 'best_acc_iter_50.pth').write_bytes(content)
    found, passed_over = newest_checkpoint(tmp_path, 'iter_{}.pth')
    assert found == tmp_path / 'iter_12.pth'
    assert sorted(Path(why.split()[0]).name for why in passed_over) == [INTERRUPTED, 'iter_20.pth', 'iter_30.pth']
    assert newest_checkpoint(tmp_path, 'epoch_{}.pth')[0] is None


def test_plain__leaves_tensors_and_built_ins_only(tmp_path):
    value = dict(a=np.float64(1.5), b=[np.int64(2), (np.bool_(True),)], c=np.arange(3), d=None, e='text', f=torch.ones(2))
    torch.save(plain(value, 'checkpoint'), tmp_path / 'file.pth')
    loaded = torch.load(tmp_path / 'file.pth', weights_only=True)
    assert loaded['a'] == 1.5 and loaded['b'] == [2, (True,)] and loaded['c'].tolist() == [0, 1, 2] and loaded['d'] is None


def test_plain__gives_the_log_back(tmp_path):
    checkpoint = dict(message_hub=dict(log_scalars={'train/loss': HistoryBuffer([1.0, 3.0], [1, 1])},
                                       runtime_info=dict(eta=np.float64(3.0)), resumed_keys={}))
    to_plain(checkpoint)
    torch.save(checkpoint, tmp_path / 'file.pth')
    loaded = torch.load(tmp_path / 'file.pth', weights_only=True)
    to_runtime(loaded)
    assert loaded['message_hub']['log_scalars']['train/loss'].mean() == 2.0
