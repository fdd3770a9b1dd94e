"""Files of tensors, written whole or not at all."""
import os

import pytest
import torch

from ssvideo.utils.safetensors_file import read_safetensors, write_safetensors


def test_safetensors_file__round_trip_keeps_types_ties_and_text(tmp_path):
    table = torch.randn(3, 2)
    tensors = dict(a=table, tied=table, view=table.t(), half=table.half(), count=torch.tensor(4))
    write_safetensors(tmp_path / 'folder' / 'x.safetensors', tensors, dict(format='f'))
    metadata, read = read_safetensors(tmp_path / 'folder' / 'x.safetensors')
    assert metadata == dict(format='f')
    assert read.keys() == tensors.keys()
    for name, value in tensors.items():
        assert read[name].dtype == value.dtype
        assert torch.equal(read[name], value)
    assert read_safetensors(tmp_path / 'folder' / 'x.safetensors', with_tensors=False)[1] == {}


def test_safetensors_file__a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'x.safetensors'
    write_safetensors(path, dict(a=torch.zeros(2)), {})
    monkeypatch.setattr(os, 'fsync', lambda *_: (_ for _ in ()).throw(OSError('disk full')))
    with pytest.raises(OSError, match='disk full'):
        write_safetensors(path, dict(a=torch.ones(2)), {})
    assert torch.equal(read_safetensors(path)[1]['a'], torch.zeros(2))


def test_safetensors_file__says_what_is_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match='there is no file'):
        read_safetensors(tmp_path / 'missing.safetensors')
    write_safetensors(tmp_path / 'x.safetensors', dict(a=torch.zeros(50)), {})
    (tmp_path / 'cut.safetensors').write_bytes((tmp_path / 'x.safetensors').read_bytes()[:-9])
    with pytest.raises(ValueError, match='not a whole safetensors file'):
        read_safetensors(tmp_path / 'cut.safetensors')
