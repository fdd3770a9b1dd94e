"""The kNN monitor in whole, small runs on a token store and on videos."""
from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from ssvideo.datasets.token_clips import TokenClips
from ssvideo.datasets.token_store import TokenStoreWriter
from ssvideo.engine.hooks import knn_monitor
from ssvideo.engine.hooks.knn_monitor import KNNHook
from ssvideo.engine.loops import StreamTrainLoop
from ssvideo.models.tokenizers import DalleVAE
from ssvideo.visualization import read_scalars

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import video_files as files  # noqa: E402

VOCAB, GRID = 16, (3, 4, 4)
NUM_TRAIN, NUM_VAL, CLASSES = 13, 7, 3  # no multiple of two processes or of a batch
MANIFEST = dict(tokenizer='abc', fps=2.0, size=(32, 32), grid=GRID[1:], vocab_size=VOCAB)
TRANSFORMER = dict(type='ssvideo.DividedTransformer', grid=GRID, vocab_size=VOCAB, embed_dims=16, num_layers=1,
                   num_heads=4, dropout=0.1)


@pytest.fixture(autouse=True)
def no_scope_left():
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture(scope='module')
def stores(tmp_path_factory):
    """Labelled videos; the ids of a class are from its own part of the vocabulary, but for some."""
    root = tmp_path_factory.mktemp('stores')
    for name, num_videos in (('train', NUM_TRAIN), ('val', NUM_VAL)):
        writer = TokenStoreWriter(root / name, MANIFEST)
        generator = torch.Generator().manual_seed(len(name))
        for video in range(num_videos):
            label = video % CLASSES
            ids = torch.randint(5, (6, *GRID[1:]), generator=generator) + 5 * label
            noise = torch.randint(VOCAB, ids.shape, generator=generator)
            is_noise = torch.rand(ids.shape, generator=generator) < 0.5
            writer.write(f'{video}.mp4', torch.where(is_noise, noise, ids), label)
        writer.close()
    return root


def listed(store, **changes) -> dict:
    dataset = dict(type='ssvideo.TokenClips', store=str(store), clip_len=GRID[0], test_mode=True)
    return dict(batch_size=4, num_workers=0, dataset=dataset | changes)


def hook(stores, **changes) -> dict:
    return dict(type='ssvideo.KNNHook', train_dataloader=listed(stores / 'train', num_clips=2),
                val_dataloader=listed(stores / 'val', num_clips=2)) | dict(k=3) | changes


def runner_of(stores, work_dir, hooks, max_epochs=3, **changes):
    config = dict(
        default_scope='mmaction', work_dir=str(work_dir), launcher='none', log_level='ERROR', randomness=dict(seed=3),
        experiment_name=f'{Path(work_dir).parent.name}_{Path(work_dir).name}',
        model=dict(
            type='ssvideo.Pretrainer', backbone=TRANSFORMER, objectives=dict(mlm=dict(type='ssvideo.MLM')),
            maskers=dict(video=dict(type='ssvideo.BlockMasker', num_blocks=2))),
        train_dataloader=dict(
            batch_size=4, num_workers=0, sampler=dict(type='ssvideo.DrawSampler', num_draws=8),
            dataset=dict(type='ssvideo.TokenClips', store=str(stores / 'train'), clip_len=GRID[0])),
        train_cfg=dict(type='ssvideo.StreamTrainLoop', max_epochs=max_epochs),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-2)),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1),
                           checkpoint=dict(type='ssvideo.CheckpointHook', interval=1)),
        visualizer=dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')]),
        log_processor=dict(window_size=1),
        custom_hooks=list(hooks))
    wrapper = dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)
    return Runner(**config | changes, cfg=dict(model_wrapper_cfg=wrapper))


def kept_arguments(monkeypatch) -> list:
    """What the hook hands to ``knn_accuracy``: ``[(bank, bank labels, queries, labels), ...]``."""
    kept = []

    def keep(bank, bank_labels, queries, labels, *others, compute=knn_monitor.knn_accuracy):
        kept.append(tuple(x.clone() for x in (bank, bank_labels, queries, labels)))
        return compute(bank, bank_labels, queries, labels, *others)

    monkeypatch.setattr(knn_monitor, 'knn_accuracy', keep)
    return kept


def test_knn_hook__logs_before_every_interval_and_at_the_end(stores, tmp_path):
    runner = runner_of(stores, tmp_path / 'run', [hook(stores, interval=2)])
    runner.train()
    scalars = read_scalars(tmp_path / 'run')
    for pool in ('summary', 'map'):
        assert [step for step, _ in scalars[f'knn/{pool}_top1']] == [0, 4, 6], 'an epoch is two steps'
        assert all(0 <= value <= 1 for _, value in scalars[f'knn/{pool}_top1'])
    assert scalars['knn/map_top1'][-1][1] > 0.6, 'the classes have their own ids, and chance is a third'
    saved = torch.load(tmp_path / 'run' / 'epoch_3.pth', weights_only=True)['message_hub']['log_scalars']
    assert saved['knn/map_top1']['log'].tolist() == [value for _, value in scalars['knn/map_top1']]
    assert runner.model.training


def test_knn_hook__a_resumed_run_does_not_start_again(stores, tmp_path):
    runner_of(stores, tmp_path / 'run', [hook(stores)], max_epochs=1).train()
    DefaultScope._instance_dict.clear()
    runner_of(stores, tmp_path / 'run', [hook(stores)], max_epochs=2, resume=True, experiment_name='resumed').train()
    assert [step for step, _ in read_scalars(tmp_path / 'run')['knn/summary_top1']] == [0, 2, 4]


def test_knn_hook__training_is_the_same_with_it_and_without(stores, tmp_path, monkeypatch):
    monkeypatch.setattr(StreamTrainLoop, '_seed_model', lambda *_: None)  # the generators go on from step to step
    losses = {}
    for name, hooks in (('with', [hook(stores)]), ('without', [])):
        runner_of(stores, tmp_path / name, hooks).train()
        losses[name] = read_scalars(tmp_path / name)['loss']
        losses[f'{name}, generators'] = random.random(), np.random.rand(), torch.rand(1).item()
        DefaultScope._instance_dict.clear()
    assert len(losses['with']) == 6
    assert losses['with'] == losses['without']
    assert losses['with, generators'] == losses['without, generators']


def test_knn_hook__features_are_those_of_the_unmasked_clips(stores, tmp_path, monkeypatch):
    kept = kept_arguments(monkeypatch)
    runner = runner_of(stores, tmp_path / 'run', [hook(stores)], max_epochs=1)
    runner.train()
    for pool, (bank, labels, _, _) in zip(('summary', 'map'), kept[-2:]):  # after the last step: the model is unchanged
        dataset = TokenClips(stores / 'train', clip_len=GRID[0], num_clips=2, test_mode=True)
        assert labels.tolist() == [int(dataset[i]['data_samples'].gt_label) for i in range(NUM_TRAIN)]
        for i in (0, NUM_TRAIN - 1):
            with torch.no_grad():
                found = runner.model.eval().backbone(dataset[i]['tokens'])
            clips = found.summary if pool == 'summary' else found.maps[-1].mean((1, 2, 3))
            expected = (clips / clips.norm(dim=1, keepdim=True)).mean(0)
            torch.testing.assert_close(bank[i], expected)


def test_knn_hook__encodes_in_the_precision_of_the_run(stores, tmp_path, monkeypatch):
    kept = kept_arguments(monkeypatch)
    for kind in ('OptimWrapper', 'ssvideo.AutocastOptimWrapper'):
        runner_of(stores, tmp_path / kind, [hook(stores, pools=('map',))], max_epochs=1,
                  optim_wrapper=dict(type=kind, optimizer=dict(type='SGD', lr=0.0))).train()
        DefaultScope._instance_dict.clear()
    full, _, half, _ = (bank for bank, *_ in kept)
    assert 1e-5 < (full - half).abs().max() < 2e-2


def one_of_two_processes(rank, folder, stores):
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv('LOCAL_RANK', str(rank))
        kept = kept_arguments(monkeypatch)
        runner = runner_of(Path(stores), f'{folder}/two', [hook(Path(stores))], max_epochs=1, launcher='pytorch')
        runner.train()
    torch.save((kept[:2], runner.message_hub.get_scalar('knn/summary_top1').data[0].tolist()), f'{folder}/{rank}.pth')
    dist.destroy_process_group()


def test_knn_hook__two_processes_equal_one(stores, monkeypatch):
    kept = kept_arguments(monkeypatch)
    with tempfile.TemporaryDirectory() as folder:
        runner = runner_of(stores, f'{folder}/one', [hook(stores)], max_epochs=1)
        runner.train()
        mp.spawn(one_of_two_processes, args=(folder, str(stores)), nprocs=2)
        figures = []
        for rank in range(2):
            found, accuracies = torch.load(f'{folder}/{rank}.pth', weights_only=True)
            for ours, expected in zip(found, kept):  # before the first step
                for a, b in zip(ours, expected):
                    torch.testing.assert_close(a, b)
            figures.append(accuracies)
        assert figures[0] == figures[1]
        assert figures[0][0] == runner.message_hub.get_scalar('knn/summary_top1').data[0][0]
        assert len(read_scalars(f'{folder}/two')['knn/summary_top1']) == 2, 'one process logs'


SWIN = dict(type='ssvideo.VideoSwin', patch_size=(2, 4, 4), embed_dims=8, depths=(1, 1), num_heads=(1, 2),
            window_size=(2, 4, 4), token_stride=(1, 8, 8))
MVM = dict(type='ssvideo.MVM', decoder=dict(type='ssvideo.SwinDecoder', branches=('video',)))
READERS = dict(
    pixels=dict(backbone=SWIN, objectives=dict(mvm=MVM),
                data_preprocessor=dict(type='ssvideo.ClipPreprocessor', mean=[127.5] * 3, std=[64.0] * 3)),
    tokens=dict(backbone=TRANSFORMER | dict(grid=(4, 4, 4)), objectives=dict(mlm=dict(type='ssvideo.MLM'))))


@pytest.mark.parametrize('reads', ['pixels', 'tokens'])
def test_knn_hook__videos_are_prepared_as_the_model_needs_them(tmp_path, reads, monkeypatch):
    kept = kept_arguments(monkeypatch)
    for i in range(4):
        files.write_video(tmp_path / f'{i}.mp4', num_frames=8 + 8 * i, size=(32, 32))
    (tmp_path / 'list.txt').write_text(''.join(f'{tmp_path}/{i}.mp4 {i}\n' for i in range(4)))
    DalleVAE(vocab_size=VOCAB, hidden_dims=8, num_blocks=1).save_tokenizer(tmp_path / 'tokenizer.safetensors')
    dataset = dict(type='ssvideo.VideoList', source=str(tmp_path / 'list.txt'), labels=True, test_mode=True, pipeline=[
        dict(type='ssvideo.SampleClips', clip_len=4, frame_interval=1, test_mode=True),
        dict(type='ssvideo.DecodeClips'), dict(type='FormatShape', input_format='NCTHW'),
        dict(type='PackActionInputs')])
    videos = dict(batch_size=3, num_workers=0, dataset=dataset)
    model = dict(type='ssvideo.Pretrainer', maskers=dict(video=dict(type='ssvideo.Random3DMasker')), **READERS[reads],
                 tokenizer=dict(type='ssvideo.DalleTokenizer', checkpoint=str(tmp_path / 'tokenizer.safetensors')))
    runner = runner_of(
        tmp_path, tmp_path / 'run', [dict(type='ssvideo.KNNHook', train_dataloader=videos, val_dataloader=videos)],
        max_epochs=1, model=model,
        train_dataloader=dict(videos, batch_size=2, sampler=dict(type='ssvideo.DrawSampler', num_draws=4)))
    runner.train()
    model, (bank, labels, queries, _) = runner.model.eval(), kept[-2]  # the summaries, after the last step
    assert labels.tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(bank, queries)
    frames = torch.cat([runner.train_dataloader.dataset[i]['inputs'] for i in range(4)])
    inputs = (frames - 127.5) / 64 if reads == 'pixels' else model.tokenizers['tokenizer'](frames / 255)
    with torch.no_grad():
        summary = model.backbone(inputs).summary
    torch.testing.assert_close(bank, summary / summary.norm(dim=1, keepdim=True))
    assert reads == 'tokens' or (bank[0] - bank[1]).abs().max() > 1e-4, 'other videos, other features'


def test_knn_hook__what_the_lists_lack_is_said(stores, tmp_path):
    labels = tmp_path / 'labels.txt'
    labels.write_text('0.mp4 0\n1.mp4 9\n')
    unknown = hook(stores, val_dataloader=listed(stores / 'val', labels=str(labels)))
    with pytest.raises(ValueError, match=r'1 classes of which the bank has no item, as \[9\]'):
        runner_of(stores, tmp_path / 'unknown', [unknown]).train()
    DefaultScope._instance_dict.clear()
    writer = TokenStoreWriter(tmp_path / 'bare', MANIFEST)
    writer.write('a.mp4', torch.zeros(4, *GRID[1:], dtype=torch.long))
    writer.close()
    with pytest.raises(ValueError, match='a label for every video, and TokenClips gives none for .*a.mp4'):
        runner_of(stores, tmp_path / 'run', [hook(stores, train_dataloader=listed(tmp_path / 'bare'))]).train()


@pytest.mark.parametrize(('changes', 'message'), [
    (dict(interval=0), 'interval'), (dict(k=0), 'k must be'), (dict(temperature=-1.0), 'temperature positive'),
    (dict(pools=('cls',)), r"one or several of \['map', 'summary'\]"), (dict(pools='map'), 'one or several'),
    (dict(train_dataloader=dict(sampler=dict(type='DefaultSampler'))), 'once, in order.*train_dataloader'),
    (dict(val_dataloader=dict(drop_last=True)), 'once, in order.*val_dataloader')])
def test_knn_hook__wrong_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        KNNHook(**dict(train_dataloader=dict(batch_size=1), val_dataloader=dict(batch_size=1)) | changes)
