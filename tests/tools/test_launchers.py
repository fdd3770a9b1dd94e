"""Trainings on several machines and under Slurm, and what happens when they are interrupted."""
from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

ROOT = Path(__file__).parents[2]
CONFIG = """
_base_ = ['{root}/configs/_base_/runtime.py']
custom_imports = dict(imports=['ssvideo', 'parts'])
model = dict(type='ssvideo.Small')
train_dataloader = dict(batch_size=2, num_workers=0, dataset=dict(type='ssvideo.Numbers'),
                        sampler=dict(type='ssvideo.DrawSampler'))
train_cfg = dict(type='ssvideo.StreamTrainLoop', max_epochs=4)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
visualizer = dict(vis_backends=[])
custom_hooks = [dict(type='ssvideo.DieOnce')]
"""
PARTS = '''
import os
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from torch.utils.data import Dataset
from ssvideo.registry import DATASETS, HOOKS, MODELS

@MODELS.register_module()
class Small(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)

    def forward(self, mode='tensor', video=None):
        return dict(loss=torch.nn.functional.dropout(self.layer(torch.stack(video)), 0.5).square().mean())

@DATASETS.register_module()
class Numbers(Dataset):
    seed = None

    def __len__(self):
        return 16

    def __getitem__(self, key):
        return torch.rand(4, generator=torch.Generator().manual_seed(100 * self.seed + key[1]))

@HOOKS.register_module()
class DieOnce(Hook):
    """The second process is killed in the middle of the third epoch, where there is a file that says so."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 9 and get_rank() == 1 and os.path.exists('die'):
            os.unlink('die')
            os.kill(os.getpid(), 9)
'''


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'config.py').write_text(CONFIG.format(root=ROOT))
    (tmp_path / 'parts.py').write_text(PARTS)
    return tmp_path


def launch(folder, nodes, *words, **environment):
    """The launchers of some machines, all on this one."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    environment = os.environ | dict(PYTHON=sys.executable, PYTHONPATH=f'{folder}:{ROOT}', NNODES=str(nodes), PORT=str(port),
                                    OMP_NUM_THREADS='1') | environment
    started = [subprocess.Popen(['bash', ROOT / 'tools/dist_train.sh', 'config.py', '2', *words], cwd=folder, text=True,
                                env=environment | dict(NODE_RANK=str(rank)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
               for rank in range(nodes)]
    try:
        said = [process.communicate(timeout=600)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    return [process.returncode for process in started], ''.join(said)


def test_dist_train__two_machines_go_on_by_themselves_after_a_process_died(folder):
    """Two launchers and one rendezvous; the weights are those of one launcher that nothing interrupted."""
    assert launch(folder, 1, '--work-dir', 'whole')[0] == [0]
    (folder / 'die').touch()
    codes, said = launch(folder, 2, '--work-dir', 'cut', MAX_RESTARTS='1')
    assert codes == [0, 0], said
    assert not (folder / 'die').exists()
    assert 'going on from cut/epoch_2.pth' in said
    whole, cut = (torch.load(folder / run / 'epoch_4.pth', weights_only=True) for run in ('whole', 'cut'))
    assert whole['meta']['run']['processes'] == cut['meta']['run']['processes'] == 2
    assert all(torch.equal(value, cut['state_dict'][name]) for name, value in whole['state_dict'].items())


SHIMS = dict(
    sbatch='''printf '%s\\n' "$@" > sbatch.txt
        while [[ $1 == -* ]]; do shift; done
        SLURM_JOB_ID=7 SLURM_RESTART_COUNT=0 bash "$@"''',
    srun='while [[ $1 == -* ]]; do shift; done; exec "$@"',
    scontrol='echo "$@" > scontrol.txt',
    training='printf "%s\\n" "$@" > training.txt; exit $STATUS')


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Commands that stand in for Slurm's and for Python; STATUS is how the training ends."""
    for name, script in SHIMS.items():
        (tmp_path / name).write_text(f'#!/usr/bin/env bash\n{script}\n')
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
    monkeypatch.delenv('SLURM_JOB_ID', raising=False)

    def run(status):
        environment = os.environ | dict(STATUS=str(status), PYTHON='training', GPUS='4', SBATCH_ARGS='--time=1:00:00')
        return subprocess.run(['bash', ROOT / 'tools/slurm_train.sh', 'gpus', 'bevt', 'configs/bevt_swin_b.py', '--amp'],
                              cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    return tmp_path, run


def test_slurm_train__submits_and_trains(slurm):
    folder, run = slurm
    assert run(0).returncode == 0
    asked = (folder / 'sbatch.txt').read_text().split('\n')
    assert {'--partition=gpus', '--job-name=bevt', '--ntasks=4', '--ntasks-per-node=4', '--gres=gpu:4', '--requeue',
            '--signal=TERM@120', '--time=1:00:00'} <= set(asked)
    assert (folder / 'training.txt').read_text().split('\n')[1:-1] == [
        str(ROOT / 'tools/train.py'), 'configs/bevt_swin_b.py', '--amp', '--launcher', 'slurm']
    assert not (folder / 'scontrol.txt').exists()


def test_slurm_train__queues_again_after_a_stop_and_not_after_an_error(slurm):
    folder, run = slurm
    assert run(1).returncode == 1
    assert not (folder / 'scontrol.txt').exists()
    assert run(143).returncode == 143
    assert (folder / 'scontrol.txt').read_text() == 'requeue 7\n'


def test_slurm_train__a_cancelled_job_is_not_queued_again(slurm):
    folder, run = slurm
    (folder / 'training').write_text('#!/usr/bin/env bash\nkill -TERM $PPID; sleep 1; echo saved > saved.txt; exit 143\n')
    assert run(143).returncode == 143
    assert (folder / 'saved.txt').exists(), 'the shell waits for the training to save'
    assert not (folder / 'scontrol.txt').exists()


@pytest.mark.parametrize('name', ['finetune/bevt_swin_b_k400', 'finetune/vimpac_small_ucf101', 'quickstart/finetune_bevt'])
def test_validation__is_shared_out(name):
    """mmengine's DefaultSampler gives each process its share; one without it would let each process do all."""
    cfg = Config.fromfile(ROOT / f'configs/{name}.py')
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        assert loader.sampler == dict(type='DefaultSampler', shuffle=False)
