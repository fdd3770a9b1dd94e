"""The contrast of several steps: the loss and the gradient of one batch that holds all their clips."""
from __future__ import annotations

import os
import tempfile

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch.utils.data import Dataset

import ssvideo.engine  # noqa: F401
import ssvideo.models  # noqa: F401
from ssvideo.registry import MODELS
from ssvideo.structures import ComparedBatches

GRID = (2, 3, 3)
NUM_VIDEOS = 8


class Pairs(Dataset):
    """Two clips of tokens of each of eight videos, the second much like the first."""
    seed = 0

    def __len__(self):
        return NUM_VIDEOS

    def __getitem__(self, key):
        generator = torch.Generator().manual_seed(key[0])
        first = torch.randint(16, GRID, generator=generator)
        second = first.where(torch.rand(GRID, generator=generator) < 0.7, torch.randint(16, GRID, generator=generator))
        return dict(tokens=torch.stack([first, second]))


class Record(Hook):
    """Keeps what every step returned."""

    def __init__(self):
        self.outputs = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.outputs.append({name: value.item() for name, value in outputs.items()})


def model(num_pairs, inputs='clean', dropout=0.0):
    torch.manual_seed(0)
    built = MODELS.build(dict(
        type='Pretrainer',
        backbone=dict(type='DividedTransformer', grid=GRID, vocab_size=16, embed_dims=16, num_layers=1, num_heads=2,
                      dropout=dropout),
        maskers=dict(video=dict(type='BlockMasker', num_blocks=2)),
        objectives=dict(nce=dict(type='InfoNCE', hidden_dims=12, out_dims=6, num_pairs=num_pairs, inputs=inputs),
                        **({} if inputs == 'clean' else dict(mlm=dict(type='MLM'))))))
    for parameter in built.parameters():  # far from the initial law: gradients of order one
        torch.nn.init.normal_(parameter, std=0.5)
    return built.double()


def train(folder, built, batch_size, accumulative_counts, max_epochs=2, **arguments):
    """Two epochs of two (or one) optimiser steps of plain SGD, whose weights add up the gradients."""
    record = Record()
    Runner(built, folder, train_dataloader=dict(
               dataset=Pairs(), batch_size=batch_size, num_workers=0, sampler=dict(type='ssvideo.DrawSampler', shuffle=False)),
           train_cfg=dict(type='ssvideo.StreamTrainLoop', max_epochs=max_epochs), custom_hooks=[record],
           optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1), accumulative_counts=accumulative_counts,
                              paramwise_cfg=dict(bypass_duplicate=True)),
           default_hooks=dict(checkpoint=None), randomness=dict(seed=3), default_scope='mmaction', log_level='ERROR',
           experiment_name=f'{folder}{batch_size}', **arguments).train()
    return record.outputs


SETTINGS_OF_TWO = {'gathered': (None, 2, 1), 'gathered and cached': (4, 1, 2)}  # num_pairs, batch size, accumulation


def one_of_two_processes(rank, folder):
    torch.set_num_threads(1)
    os.environ['LOCAL_RANK'] = str(rank)
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    wrapper = dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)
    for name, (num_pairs, batch_size, accumulative_counts) in SETTINGS_OF_TWO.items():
        built = model(num_pairs)
        train(f'{folder}/{name}', built, batch_size, accumulative_counts, launcher='pytorch', cfg=dict(model_wrapper_cfg=wrapper))
        torch.save(dict(built.named_parameters()), f'{folder}/{name} {rank}.pth')
    dist.destroy_process_group()


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """Weights and losses of one process that compares four pairs in one batch."""
    built = model(num_pairs=None)
    outputs = train(str(tmp_path_factory.mktemp('whole')), built, batch_size=4, accumulative_counts=1)
    return dict(built.named_parameters()), [output['video_nce_loss'] for output in outputs]


def assert_equal_weights(ours, expected):
    untrained = dict(model(None).named_parameters())
    assert (expected['backbone.layers.0.mlp.body.0.weight'] - untrained['backbone.layers.0.mlp.body.0.weight']).norm() > 1e-2
    for name, value in expected.items():
        torch.testing.assert_close(ours[name], value, atol=1e-5, rtol=1e-5, msg=lambda m, n=name: f'{n}: {m}')


@pytest.mark.parametrize('batch_size', [1, 2])
def test_cached_summaries__accumulation_equals_one_big_batch(whole, tmp_path, batch_size):
    """Weights after four steps, and the loss of each: as if the four pairs were one batch."""
    expected, losses = whole
    built = model(num_pairs=4)
    outputs = train(str(tmp_path), built, batch_size, accumulative_counts=4 // batch_size)
    assert_equal_weights(dict(built.named_parameters()), expected)
    got = [output['video_nce_loss'] for output in outputs]
    assert got == pytest.approx([loss for loss in losses for _ in range(4 // batch_size)], abs=1e-9)
    assert max(output['video_cache_error'] for output in outputs) == 0


def test_cached_summaries__two_processes_equal_one(whole):
    """Two pairs on each process, in one batch, and in two steps of one pair."""
    expected, _ = whole
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(one_of_two_processes, args=(folder,), nprocs=2)
        for name in SETTINGS_OF_TWO:
            for rank in range(2):
                assert_equal_weights(torch.load(f'{folder}/{name} {rank}.pth', weights_only=True), expected)


def test_cached_summaries__plain_accumulation_is_another_loss(whole, tmp_path):
    """What the cache is for: a contrast that only sees the batch at hand differs."""
    built = model(num_pairs=None)
    outputs = train(str(tmp_path), built, batch_size=2, accumulative_counts=2)
    assert abs(outputs[0]['video_nce_loss'] - whole[1][0]) > 1e-2


def test_cached_summaries__masks_and_dropout_are_those_of_the_step(tmp_path):
    """The encoding without a gradient is bit for bit the one with it, beside a second objective."""
    built = model(num_pairs=4, inputs='masked', dropout=0.1)
    outputs = train(str(tmp_path), built, batch_size=2, accumulative_counts=4, max_epochs=1)
    assert [output['video_cache_error'] for output in outputs] == [0, 0, 0, 0]
    assert outputs[0]['video_nce_loss'] == pytest.approx(outputs[1]['video_nce_loss'])
    assert outputs[0]['video_nce_loss'] != pytest.approx(outputs[2]['video_nce_loss'])  # the next four pairs
    assert outputs[0]['video_mlm_loss'] != pytest.approx(outputs[1]['video_mlm_loss'])


def test_cached_summaries__gradient_equals_that_of_one_graph():
    """With masks, dropout off: the steps' gradients, averaged, are those of a loss that kept all graphs."""
    built = model(num_pairs=4, inputs='masked').train()
    clips = [built.data_preprocessor(dict(video=dict(tokens=[Pairs()[index, 0]['tokens'] for index in pair])))['inputs']['video']
             for pair in ((0, 1), (2, 3))]
    masks = [built.draw_mask('video', clip) for clip in clips]
    built.draw_mask = lambda stream, clip: masks[next(i for i, other in enumerate(clips) if other is clip)]

    targets = [built.tokenize('video', clip, mask)['stored'] for clip, mask in zip(clips, masks)]
    features = [built.backbone(clip.tokens, mask) for clip, mask in zip(clips, masks)]
    joined = type(features[0])(maps=(), summary=None, compared=torch.stack([f.summary for f in features]))
    loss = built.objectives['nce'](joined, targets[0])['loss'] + sum(
        built.objectives['mlm'](f, t)['loss'] for f, t in zip(features, targets)) / 2
    expected = torch.autograd.grad(loss, list(built.parameters()))

    cached = torch.stack([built.summarize(dict(video=clip))['video', 'masked'] for clip in clips])
    for place, clip in enumerate(clips):
        with built.comparing(ComparedBatches({('video', 'masked'): cached}, place)):
            terms = built.loss(dict(video=clip))
        ((terms['video_nce_loss'] + terms['video_mlm_loss']) / 2).backward()
    for (name, parameter), gradient in zip(built.named_parameters(), expected):
        torch.testing.assert_close(parameter.grad, gradient, msg=lambda m, n=name: f'{n}: {m}')


@pytest.mark.parametrize(('num_pairs', 'batch_size', 'counts', 'message'), [
    (3, 2, 2, 'must be a multiple of batch size x processes = 2'), (1, 2, 2, 'must be a multiple of batch size'),
    (8, 2, 2, '4 batches are compared together, so accumulative_counts must be a multiple of 4')])
def test_cached_summaries__wrong_numbers(num_pairs, batch_size, counts, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        train(str(tmp_path), model(num_pairs), batch_size, counts)


def test_zipped_loader__an_epoch_is_a_whole_number_of_optimiser_steps(tmp_path):
    outputs = train(str(tmp_path), model(num_pairs=None), batch_size=1, accumulative_counts=3)
    assert len(outputs) == 12  # two epochs of six of the eight batches
    with pytest.raises(ValueError, match='an epoch has 4 batches, fewer than the accumulative_counts=5'):
        train(str(tmp_path), model(num_pairs=None), batch_size=2, accumulative_counts=5)


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmaction')
