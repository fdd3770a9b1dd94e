"""Weights of other programs are read as data."""
import argparse
import os

import pytest
import torch
from safetensors.torch import save_file

from ssvideo.utils.foreign_weights import read_weights

WEIGHTS = {'backbone.a': torch.arange(3.0), 'b': torch.ones(2, 2)}


class Attack:
    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize('wrap', [
    lambda w: w, lambda w: dict(model=w, epoch=3), lambda w: dict(state_dict=w, optimizer=dict(state={})),
    lambda w: {f'module.{name}': value for name, value in w.items()},
    lambda w: dict(model_state_dict={f'module.{name}': value for name, value in w.items()})])
def test_read_weights__every_wrapping(tmp_path, wrap):
    torch.save(wrap(WEIGHTS), tmp_path / 'x.pt')
    read = read_weights(tmp_path / 'x.pt')
    assert read.tensors.keys() == WEIGHTS.keys()
    assert all(torch.equal(read.tensors[name], WEIGHTS[name]) for name in WEIGHTS)


def test_read_weights__facts_stand_beside_the_weights(tmp_path):
    torch.save(dict(model=WEIGHTS, args=dict(net=dict(num_heads=4)), epoch=3), tmp_path / 'x.pt')
    read = read_weights(tmp_path / 'x.pt')
    assert (read.fact('num_heads'), read.fact('layout'), read.fact('layout', 'epoch')) == (4, None, 3)
    save_file(WEIGHTS, tmp_path / 'x.safetensors', dict(layout='THW'))
    assert read_weights(tmp_path / 'x.safetensors').fact('layout') == 'THW'


@pytest.mark.parametrize('function', [os.system, eval])
def test_read_weights__a_malicious_pickle_runs_nothing(tmp_path, function):
    text = f'touch {tmp_path}/ran' if function is os.system else f'open({str(tmp_path / "ran")!r}, "w")'
    for legacy in (False, True):
        torch.save(dict(model=WEIGHTS, extra=Attack(function, text)), tmp_path / 'x.pt',
                   _use_new_zipfile_serialization=not legacy)
        with pytest.raises(ValueError, match='nothing in it was executed'):
            read_weights(tmp_path / 'x.pt')
    assert not (tmp_path / 'ran').exists()


def test_read_weights__says_what_is_wrong(tmp_path):
    path = tmp_path / 'x.pt'
    torch.save(dict(model=WEIGHTS, args=argparse.Namespace(num_heads=4)), path)
    with pytest.raises(ValueError, match=r'save its state dict by itself.*argparse\.Namespace'):
        read_weights(path)
    torch.save([1], path)
    with pytest.raises(ValueError, match='holds a list, expected a state dict'):
        read_weights(path)
    torch.save(dict(net=WEIGHTS), path)
    with pytest.raises(ValueError, match=r"holds \['net'\] and no tensors"):
        read_weights(path)
    path.write_bytes(b'not a file of torch')
    with pytest.raises(ValueError, match='not a file of plain tensors'):
        read_weights(path)
    with pytest.raises(FileNotFoundError, match='there is no file'):
        read_weights(tmp_path / 'missing.pt')
