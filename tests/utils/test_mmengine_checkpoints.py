"""Whatever mmengine is given to load, nothing in it is executed."""
from __future__ import annotations

import builtins
import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, checkpoint

from ssvideo.utils.mmengine_checkpoints import read_checkpoint


class Command:
    """Pickled, it is a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_read_checkpoint__of_mmengine(tmp_path):
    torch.save(dict(meta=dict(epoch=1, config='raise SystemExit'), state_dict=dict(a=torch.ones(2)), message_hub=dict(
        log_scalars=dict(loss=HistoryBuffer([1.0, 3.0], [1, 1])), runtime_info=dict(loss=np.float64(2), iter=np.int64(3)))),
        tmp_path / 'epoch_1.pth')
    with pytest.raises(Exception, match='weights_only'):
        torch.load(tmp_path / 'epoch_1.pth')
    found = CheckpointLoader.load_checkpoint(str(tmp_path / 'epoch_1.pth'))
    assert found['message_hub']['log_scalars']['loss'].mean() == 2.0
    assert found['message_hub']['runtime_info'] == dict(loss=2.0, iter=3)
    assert found['meta'] == dict(epoch=1), 'mmengine would run config as Python'


@pytest.mark.parametrize('command', [
    lambda path: Command(open, path, 'w'), lambda path: Command(exec, f'open({path!r}, "w")'),
    lambda path: Command(getattr, Path(path), 'touch'), lambda path: Command(getattr, HistoryBuffer, 'update'),
    lambda path: Command(functools.partial, open, path)], ids=['open', 'exec', 'getattr', 'method', 'partial'])
def test_read_checkpoint__runs_no_pickled_command(tmp_path, command):
    trace = tmp_path / 'executed'
    torch.save(dict(state_dict=dict(a=command(str(trace)))), tmp_path / 'hostile.pth')
    with pytest.raises(ValueError, match='hostile.pth cannot be read as plain tensors.*Nothing in it was executed'):
        CheckpointLoader.load_checkpoint(str(tmp_path / 'hostile.pth'))
    assert not trace.exists()


def test_read_checkpoint__says_what_is_wrong_with_a_file(tmp_path):
    torch.save(dict(a=torch.ones(1000)), tmp_path / 'whole.pth')
    content = (tmp_path / 'whole.pth').read_bytes()
    for name, part in (('cut', content[:len(content) // 2]), ('empty', b''), ('text', b'hello')):
        (tmp_path / name).write_bytes(part)
        with pytest.raises(ValueError, match=f'{name} cannot be read'):
            read_checkpoint(tmp_path / name)
    torch.save([1, 2], tmp_path / 'list.pth')
    with pytest.raises(ValueError, match='holds a list, expected a dict'):
        read_checkpoint(tmp_path / 'list.pth')
    with pytest.raises(FileNotFoundError, match='there is no checkpoint'):
        read_checkpoint(tmp_path / 'none.pth')


def test_read_checkpoint__the_environment_cannot_switch_it_off(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    torch.save(dict(a=Command(builtins.print, 'executed')), tmp_path / 'hostile.pth')
    with pytest.raises(ValueError, match='cannot be read as plain tensors'):
        read_checkpoint(tmp_path / 'hostile.pth')


def test_downloads__are_read_as_data_too(tmp_path, monkeypatch):
    torch.save(dict(a=Command(builtins.print, 'executed')), tmp_path / 'hostile.pth')
    monkeypatch.setattr(torch.hub, 'download_url_to_file', lambda url, out, *args, **kwargs: Path(out).write_bytes(
        (tmp_path / 'hostile.pth').read_bytes()))
    with pytest.raises(Exception, match='weights_only|Weights only'):
        checkpoint.load_from_http('http://nowhere/hostile.pth', model_dir=str(tmp_path / 'cache'))
