"""Model files: only what fits is written, only what is registered is built."""
import os

import pytest
import torch

from ssvideo.utils.model_file import FORMAT, ModelFile, build_model, read_model_file, source_of
from ssvideo.utils.safetensors_file import write_safetensors

BACKBONE = dict(type='ssvideo.DividedTransformer', grid=[2, 2, 2], vocab_size=4, embed_dims=8, num_layers=1, num_heads=2)
CONFIG = dict(type='ssvideo.Pretrainer', backbone=BACKBONE, maskers=dict(video=dict(type='ssvideo.BlockMasker')),
              objectives=dict(mlm=dict(type='ssvideo.MLM')))


def test_model_file__round_trip(tmp_path):
    weights = build_model(CONFIG).state_dict()
    ModelFile(CONFIG, weights, dict(file='x.pt')).save(tmp_path / 'm.safetensors')
    read = read_model_file(tmp_path / 'm.safetensors')
    assert (read.config, read.source) == (CONFIG, dict(file='x.pt'))
    assert read.weights.keys() == weights.keys()
    assert all(torch.equal(read.weights[name], weights[name]) for name in weights)


@pytest.mark.parametrize(('change', 'message'), [
    (lambda w: w.pop('backbone.cls_token'), r"missing \['backbone.cls_token'\]"),
    (lambda w: w.update(extra=torch.zeros(1)), r"unexpected \['extra'\]"),
    (lambda w: w.update({'backbone.cls_token': torch.zeros(9)}), r'backbone.cls_token \(9,\), expected \(8,\)')])
def test_model_file__only_weights_that_fit_are_written(tmp_path, change, message):
    weights = dict(build_model(CONFIG).state_dict())
    change(weights)
    with pytest.raises(ValueError, match=message):
        ModelFile(CONFIG, weights).save(tmp_path / 'm.safetensors')
    assert not list(tmp_path.iterdir())


def test_model_file__says_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match='ends in .safetensors'):
        ModelFile(CONFIG, {}).save(tmp_path / 'm.pth')
    torch.save({}, tmp_path / 'm.pth')
    with pytest.raises(ValueError, match='checkpoint CONFIG SOURCE OUT'):
        read_model_file(tmp_path / 'm.pth')
    path = tmp_path / 'm.safetensors'
    for metadata, message in [({}, 'format=None'), (dict(format='ssvideo.dalle/1'), 'ssvideo.dalle/1'),
                              (dict(format=FORMAT), 'does not describe'), (dict(format=FORMAT, config='{'), 'does not describe'),
                              (dict(format=FORMAT, config='[]'), 'JSON objects')]:
        write_safetensors(path, dict(a=torch.zeros(1)), metadata)
        with pytest.raises(ValueError, match=message):
            read_model_file(path)


@pytest.mark.parametrize('place', ['top', 'backbone', 'nested'])
@pytest.mark.parametrize('kind', ['os.system', 'torch.nn.Linear', 'mmaction.Recognizer3D', 'Recognizer3D', 'ssvideo.os', 7])
def test_build_model__only_what_is_registered(tmp_path, kind, place):
    intruder = dict(type=kind, command=f'touch {tmp_path}/ran')
    config = dict(top=intruder, backbone=CONFIG | dict(backbone=intruder),
                  nested=CONFIG | dict(objectives=dict(mlm=dict(type='ssvideo.MLM', streams=[[intruder]]))))[place]
    with pytest.raises(ValueError, match=r'type is .* not registered in ssvideo\.registry\.MODELS'):
        build_model(config)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(('config', 'message'), [
    (CONFIG | dict(_scope_='mmaction'), '_scope_'),
    (CONFIG | dict(backbone=BACKBONE | dict(init_cfg=dict(type='Pretrained', checkpoint='https://x'))), 'init_cfg'),
    (CONFIG | dict(backbone=BACKBONE | dict(num_head=2)), 'num_head'),
    (dict(backbone=BACKBONE), 'a dict with a type')])
def test_build_model__refuses_other_configs(config, message):
    with pytest.raises(ValueError, match=message):
        build_model(config)


def test_source_of__names_the_file_by_its_content(tmp_path):
    (tmp_path / 'x.pt').write_bytes(b'abc')
    assert source_of(tmp_path / 'x.pt', ['note']) == dict(
        file='x.pt', sha256='ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad', notes=['note'])  # FIPS 180-2
