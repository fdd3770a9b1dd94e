from __future__ import annotations

import copy
import multiprocessing
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from PIL import Image
from torch import nn

from ssvideo.engine.streams import ZippedLoader

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import video_files as files  # noqa: E402

PACK = [{'type': 'FormatShape', 'input_format': 'NCTHW'},
        {'type': 'PackActionInputs', 'meta_keys': ('filename', 'frame_inds')}]
CROP = [{'type': 'RandomResizedCrop'}, {'type': 'Resize', 'scale': (16, 16), 'keep_ratio': False},
        {'type': 'Flip', 'flip_ratio': 0.5}]


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Seven videos and five images; one of each is broken."""
    root = tmp_path_factory.mktemp('data')
    (root / 'videos').mkdir()
    (root / 'images').mkdir()
    for i in range(6):
        files.write_video(root / 'videos' / f'{i}.mp4', num_frames=12, size=(48, 32))
    (root / 'videos' / '6.mp4').write_text('broken')
    for i in range(4):
        Image.fromarray(files.picture(i, 40, 30)).save(root / 'images' / f'{i}.png')
    (root / 'images' / '4.png').write_bytes(b'')
    return root


class TwoStreamModel(BaseModel):
    """A weight for each stream, dropout, and a record of what it was given."""

    def __init__(self):
        super().__init__()
        self.weights = nn.ParameterDict({'video': torch.ones(3), 'image': torch.ones(3)})
        self.seen: list = []

    def forward(self, batch, mode='tensor'):
        losses = {}
        for name, part in batch.items():
            clips = torch.cat(part['inputs']).float() / 255
            features = nn.functional.dropout(clips.mean((2, 3, 4)), 0.5, self.training)
            losses[f'{name}_loss'] = (features * self.weights[name]).square().mean()
            names = [Path(s.filename).name for s in part['data_samples']]
            self.seen.append((name, names, torch.cat(part['inputs']).clone()))
        return losses

    def train_step(self, data, optim_wrapper):
        losses, _ = self.parse_losses(self(data))
        optim_wrapper.update_params(losses)
        return {'loss': losses.detach()}


class StopAt(Hook):
    """Ends the run, as a kill would, after so many iterations."""

    priority = 'LOWEST'  # after the learning rate's step

    def __init__(self, iterations):
        self.iterations = iterations

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.iterations:
            runner.save_checkpoint(runner.work_dir, 'stopped.pth', by_epoch=False)
            raise KeyboardInterrupt


def loaders(data, num_workers):
    common = {'num_workers': num_workers, 'persistent_workers': num_workers > 0,
              'sampler': {'type': 'ssvideo.DrawSampler'}}
    video = {'type': 'ssvideo.VideoList', 'source': str(data / 'videos'), 'pipeline': [
        {'type': 'ssvideo.SampleClips', 'clip_len': 4, 'frame_interval': 2, 'num_clips': 2},
        {'type': 'ssvideo.DecodeClips'}, *CROP, *PACK]}
    image = {'type': 'ssvideo.ImageList', 'source': str(data / 'images'),
             'pipeline': [{'type': 'ssvideo.LoadImage'}, *CROP, *PACK]}
    return {'video': {'dataset': video, 'batch_size': 2, **common},
            'image': {'dataset': image, 'batch_size': 3, **common}}


def runner(tmp_path, train_dataloader, name, hooks=(), **arguments):
    torch.manual_seed(0)
    return Runner(
        TwoStreamModel(), str(tmp_path / name), train_dataloader=copy.deepcopy(train_dataloader),
        train_cfg={'type': 'ssvideo.StreamTrainLoop', 'max_epochs': 3}, custom_hooks=list(hooks),
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9}},
        param_scheduler={'type': 'CosineAnnealingLR', 'convert_to_iter_based': True, 'T_max': 3},
        randomness={'seed': 7}, default_scope='mmaction', experiment_name=f'{tmp_path.name}{name}',
        log_level='ERROR', **arguments)


@pytest.fixture(autouse=True)
def no_scope_left():
    yield
    DefaultScope._instance_dict.clear()


def interrupted(tmp_path, streams, stop, name):
    first = runner(tmp_path, streams, f'{name}_1', [StopAt(stop)])
    with pytest.raises(KeyboardInterrupt):
        first.train()
    checkpoint = tmp_path / f'{name}_1' / 'stopped.pth'
    DefaultScope._instance_dict.clear()
    second = runner(tmp_path, streams, f'{name}_2', resume=True, load_from=str(checkpoint))
    second.train()
    return first, second


@pytest.mark.parametrize(('num_workers', 'stop'), [(0, 3), (2, 6), (2, 8)])
def test_stream_train_loop__resumed_is_uninterrupted_bit_for_bit(data, tmp_path, num_workers, stop):
    streams = loaders(data, num_workers)
    whole = runner(tmp_path, loaders(data, 0), 'whole')
    whole.train()
    assert len(whole.train_dataloader) == 4
    assert whole.iter == 12
    first, second = interrupted(tmp_path, streams, stop, 'cut')
    expected, got = whole.model.seen, first.model.seen + second.model.seen
    assert len(expected) == len(got) == 24
    for a, b in zip(expected, got):
        assert a[:2] == b[:2]
        assert torch.equal(a[2], b[2])
    for a, b in zip(whole.model.parameters(), second.model.parameters()):
        assert torch.equal(a, b)
    assert second.epoch == 3
    assert not multiprocessing.active_children()  # the workers ended with the run


def test_stream_train_loop__the_first_stream_is_the_epoch_and_others_go_on(data, tmp_path):
    run = runner(tmp_path, loaders(data, 0), 'run')
    run.train()
    names = {s: [n for name, ns, _ in run.model.seen if name == s for n in ns] for s in ('video', 'image')}
    assert len(names['video']) == 24
    assert len(names['image']) == 36
    for stream, size in (('video', 6), ('image', 4)):  # a broken one is replaced
        assert len(set(names[stream])) == size
    assert (tmp_path / 'run' / 'broken_videos.jsonl').read_text().count('\n') == 1
    assert (tmp_path / 'run' / 'broken_images.jsonl').read_text().count('\n') == 1


def test_stream_train_loop__one_loader_is_the_video_stream(data, tmp_path):
    run = runner(tmp_path, loaders(data, 0)['video'], 'run')
    run.train()
    assert {name for name, *_ in run.model.seen} == {'video'}


def test_stream_train_loop__another_batch_size_is_refused_on_resume(data, tmp_path):
    streams = loaders(data, 0)
    with pytest.raises(KeyboardInterrupt):
        runner(tmp_path, streams, 'first', [StopAt(6)]).train()
    streams['video']['batch_size'] = 4
    DefaultScope._instance_dict.clear()
    second = runner(tmp_path, streams, 'second', resume=True, load_from=str(tmp_path / 'first' / 'stopped.pth'))
    with pytest.raises(ValueError, match='written at iteration 6 in epoch 1, but an epoch now has 2 iterations'):
        second.train()


def test_stream_train_loop__asks_for_a_draw_sampler(data, tmp_path):
    streams = loaders(data, 0)
    streams['image']['sampler'] = {'type': 'DefaultSampler'}
    with pytest.raises(ValueError, match="'image' is sampled by DefaultSampler.*ssvideo.DrawSampler"):
        runner(tmp_path, streams, 'run').train()


def test_zipped_loader__refuses_an_empty_epoch(data, tmp_path):
    streams = Config(loaders(data, 0))
    DefaultScope.get_instance('test', scope_name='mmaction')
    streams.image.update(batch_size=8, drop_last=True)
    with pytest.raises(ValueError, match="'image' has 5 draws per process and epoch, fewer than its batch size 8"):
        ZippedLoader({name: Runner.build_dataloader(config, seed=0) for name, config in streams.items()})
    with pytest.raises(ValueError, match='no stream'):
        ZippedLoader({})


def test_clip_train_loop__gives_the_batch_itself_and_resumes_in_an_epoch(data, tmp_path):
    def fine_tune(name, **arguments):
        DefaultScope._instance_dict.clear()
        return Runner(
            PlainModel(), str(tmp_path / name), train_dataloader=loaders(data, 0)['video'], default_scope='mmaction',
            train_cfg={'type': 'ssvideo.ClipTrainLoop', 'max_epochs': 2}, optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}},
            randomness={'seed': 7}, experiment_name=f'{tmp_path.name}{name}', log_level='ERROR', **arguments)

    whole, cut = fine_tune('whole'), fine_tune('cut', custom_hooks=[StopAt(5)])
    whole.train()
    with pytest.raises(KeyboardInterrupt):
        cut.train()
    rest = fine_tune('rest', resume=True, load_from=str(tmp_path / 'cut' / 'stopped.pth'))
    rest.train()
    assert len(whole.model.seen) == len(cut.model.seen + rest.model.seen) == 8
    for a, b in zip(whole.model.seen, cut.model.seen + rest.model.seen):
        assert a[:2] == b[:2] and torch.equal(a[2], b[2])
    assert torch.equal(whole.model.weights['video'], rest.model.weights['video'])


class PlainModel(TwoStreamModel):
    """As a classifier, it is given one batch without a name."""

    def train_step(self, data, optim_wrapper):
        return super().train_step({'video': data}, optim_wrapper)


def test_draw_sampler__serves_mmengines_own_epoch_loop(data, tmp_path):
    run = Runner(
        PlainModel(), str(tmp_path), train_dataloader=loaders(data, 2)['video'], default_scope='mmaction',
        train_cfg={'by_epoch': True, 'max_epochs': 3}, optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}},
        randomness={'seed': 7}, experiment_name=tmp_path.name, log_level='ERROR')
    run.train()
    batches = [pixels for _, _, pixels in run.model.seen]
    assert run.iter == 12
    assert not any(torch.equal(batches[0], b) for b in batches[4:] if b.shape == batches[0].shape)
