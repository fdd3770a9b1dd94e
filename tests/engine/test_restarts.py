"""Where a run goes on."""
from __future__ import annotations

import os

import pytest
from mmengine.config import Config

from ssvideo.engine.restarts import go_on
from tests.engine.small_runs import small_runner


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for word in ('TORCHELASTIC_RESTART_COUNT', 'SLURM_RESTART_COUNT'):
        monkeypatch.delenv(word, raising=False)
    small_runner(tmp_path, checkpoint=dict(interval=1)).train()
    return tmp_path


def recipe(folder, **words):
    return Config(dict(work_dir=str(folder), default_hooks=dict(checkpoint=dict(type='ssvideo.CheckpointHook')),
                       resume=False, load_from='pretrained.pth') | words)


def start(folder, **words):
    """What a process does that starts in a work folder."""
    cfg = recipe(folder, **words)
    return cfg, [line for _, line in go_on(cfg)]


def test_go_on__nobody_asks(folder):
    cfg, lines = start(folder)
    assert (cfg.resume, cfg.load_from, lines) == (False, 'pretrained.pth', [])


def test_go_on__resume_takes_the_newest_good_one(folder):
    (folder / 'epoch_3.pth').write_bytes(b'cut')
    cfg, lines = start(folder, auto_resume=True)
    assert (cfg.resume, cfg.load_from) == (True, str(folder / 'epoch_2.pth'))
    assert 'passed over' in lines[0] and 'epoch_3.pth cannot be read' in lines[0]
    assert lines[1] == f'--resume: going on from {folder / "epoch_2.pth"}'


def test_go_on__resume_starts_as_the_recipe_says_where_there_is_none(tmp_path):
    cfg, lines = start(tmp_path / 'new', auto_resume=True)
    assert (cfg.resume, cfg.load_from) == (False, 'pretrained.pth')
    assert 'there is no checkpoint to resume from' in lines[0]


@pytest.mark.parametrize('word', ['TORCHELASTIC_RESTART_COUNT', 'SLURM_RESTART_COUNT'])
def test_go_on__a_restart_goes_on_by_itself(folder, monkeypatch, word):
    start(folder)  # anew, in the folder of an earlier run
    monkeypatch.setenv(word, '1')
    cfg, lines = start(folder)
    assert not cfg.resume and 'no checkpoint to resume from' in lines[0], "the earlier run's do not count"
    os.utime(folder / 'epoch_1.pth')  # as if it were written now
    cfg, lines = start(folder)
    assert (cfg.resume, cfg.load_from) == (True, str(folder / 'epoch_1.pth'))
    assert lines == [f'{word}=1: going on from {folder / "epoch_1.pth"}']


def test_go_on__a_first_start_is_no_restart(folder, monkeypatch):
    monkeypatch.setenv('TORCHELASTIC_RESTART_COUNT', '0')
    assert start(folder)[1] == []


def test_go_on__names_and_folder_are_the_hooks(tmp_path):
    out = tmp_path / 'out'
    hook = dict(type='ssvideo.CheckpointHook', by_epoch=False, interval=4, out_dir=str(out))
    small_runner(tmp_path / 'run', checkpoint=hook).train()
    cfg, _ = start(tmp_path / 'run', auto_resume=True, default_hooks=dict(checkpoint=hook))
    assert cfg.load_from == str(out / 'run' / 'iter_12.pth')
