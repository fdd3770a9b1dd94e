"""Missing predictions count as wrong, are named, and are never scored."""
from __future__ import annotations

import json
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmaction.evaluation import AccMetric
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

import ssvideo.engine
import ssvideo.models  # noqa: F401
from ssvideo.datasets.missing import missing_sample
from ssvideo.evaluation import VideoAccuracy
from ssvideo.evaluation.video_accuracy import mean_class_accuracy

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import video_files as files  # noqa: E402

NUM_CLASSES = 7


def samples(num: int, missing: set[int]) -> list[dict]:
    """Random scores, as a model gives them to a metric."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(num):
        label, score = int(rng.integers(5)), torch.from_numpy(rng.normal(size=NUM_CLASSES))
        if i in missing:
            sample = missing_sample(f'{i}.mp4', 'cut off', label)
            made.append(sample.set_pred_score(torch.full((NUM_CLASSES,), torch.nan)).to_dict())
        else:
            score[label] += rng.normal() + 0.5
            made.append(dict(pred_score=score, gt_label=torch.tensor([label])))
    return made


def figures_of(metric, made: list[dict], batch_size: int = 4) -> dict:
    for start in range(0, len(made), batch_size):
        metric.process(None, made[start:start + batch_size])
    return metric.evaluate(len(made))


def test_video_accuracy__is_mmactions_where_nothing_is_missing():
    made = samples(50, set())
    expected = figures_of(AccMetric(), made)
    assert figures_of(VideoAccuracy(), made) == {**expected, 'acc/missing_share': 0.0}
    read = [dict(pred=sample['pred_score'].numpy(), label=int(sample['gt_label'])) for sample in made]
    assert mean_class_accuracy(read, []) == pytest.approx(expected['acc/mean1'])


@pytest.mark.parametrize('topk', [1, (1, 5), (1, NUM_CLASSES)])
def test_video_accuracy__counts_what_is_missing_as_wrong(topk, tmp_path):
    missing = {0, 3, 7, 31, 49}
    metric = VideoAccuracy(metric_options=dict(top_k_accuracy=dict(topk=topk)))
    metric.missing_file = tmp_path / 'missing.jsonl'
    found = figures_of(metric, samples(50, missing))

    made = samples(50, missing)
    scores = np.stack([np.full(NUM_CLASSES, -np.inf) if i in missing else sample['pred_score'] for i, sample in enumerate(made)])
    labels = [sample['missing_label'] if i in missing else int(sample['gt_label']) for i, sample in enumerate(made)]
    for k in np.atleast_1d(topk):
        right = [i not in missing and labels[i] in np.argsort(scores[i])[-k:] for i in range(50)]
        assert found[f'acc/top{k}'] == pytest.approx(np.mean(right))
    predicted = [None if i in missing else int(scores[i].argmax()) for i in range(50)]
    classes = {*labels, *predicted} - {None}
    shares = [np.mean([predicted[i] == c for i in range(50) if labels[i] == c] or [0.0]) for c in classes]
    assert found['acc/mean1'] == pytest.approx(np.mean(shares))
    assert found['acc/missing_share'] == 0.1
    listed = [json.loads(line) for line in metric.missing_file.read_text().splitlines()]
    assert listed == [dict(path=f'{i}.mp4', reason='cut off') for i in sorted(missing)]
    figures_of(metric, samples(10, set()))
    assert not metric.missing_file.exists()  # it would be wrong now


def test_video_accuracy__of_nothing_but_missing_is_0():
    assert figures_of(VideoAccuracy(), samples(6, set(range(6)))) == {
        'acc/top1': 0.0, 'acc/top5': 0.0, 'acc/mean1': 0.0, 'acc/missing_share': 1.0}


def test_video_accuracy__refuses_what_it_cannot_count():
    with pytest.raises(ValueError, match="metric_list must be of .* got \\['mean_average_precision'\\]"):
        VideoAccuracy(metric_list=('top_k_accuracy', 'mean_average_precision'))
    with pytest.raises(ValueError, match='a.mp4 has no label'):
        VideoAccuracy().process(None, [missing_sample('a.mp4', 'cut off', None).to_dict()])


def one_of_two_processes(rank: int, folder: str) -> None:
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    os.chdir(folder)
    made = samples(21, {2, 5, 20})
    padded = [*made, made[0]][rank::2]  # as a sampler deals them out, with the first once more at the end
    metric = VideoAccuracy()
    metric.missing_file = Path(folder) / 'missing.jsonl'
    metric.process(None, padded)
    torch.save(metric.evaluate(len(made)), f'{folder}/{rank}.pth')
    dist.destroy_process_group()


def test_video_accuracy__two_processes_count_and_name_each_video_once(tmp_path):
    mp.start_processes(one_of_two_processes, args=(str(tmp_path),), nprocs=2, start_method='fork')
    expected = figures_of(VideoAccuracy(), samples(21, {2, 5, 20}))
    for rank in range(2):
        assert torch.load(tmp_path / f'{rank}.pth', weights_only=False) == expected
    assert [json.loads(line)['path'] for line in (tmp_path / 'missing.jsonl').open()] == ['2.mp4', '5.mp4', '20.mp4']


# -- a whole test -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    """A list of seven labelled videos, of which the first, the fourth and the last cannot be read."""
    root = tmp_path_factory.mktemp('videos')
    for i in (1, 2, 4, 5):
        files.write_video(root / f'{i}.mp4', num_frames=8)
    (root / '0.mp4').write_text('no video')
    (root / '3.mp4').write_bytes(b'')
    (root / 'list.txt').write_text(''.join(f'{i}.mp4 {i % 3}\n' for i in range(7)))
    return root


def runner_for(videos: Path, folder: Path, evaluator: list[dict], hook: bool = True) -> Runner:
    DefaultScope._instance_dict.clear()
    pipeline = [dict(type='ssvideo.SampleClips', clip_len=4, frame_interval=1, test_mode=True), dict(type='ssvideo.DecodeClips'),
                dict(type='Resize', scale=(32, 32), keep_ratio=False), dict(type='FormatShape', input_format='NCTHW'),
                dict(type='PackActionInputs', meta_keys=('filename',))]
    dataset = dict(type='ssvideo.VideoList', source=str(videos / 'list.txt'), data_root=str(videos), pipeline=pipeline,
                   test_mode=True, on_broken='missing')
    model = dict(
        type='ssvideo.ClipClassifier', num_classes=3,
        data_preprocessor=dict(type='ClipPreprocessor', mean=[127.5] * 3, std=[64.0] * 3),
        backbone=dict(type='ssvideo.VideoSwin', patch_size=(2, 4, 4), embed_dims=8, depths=(1, 1), num_heads=(1, 2),
                      window_size=(2, 4, 4)))
    return Runner(model, str(folder), test_dataloader=dict(
        batch_size=2, num_workers=2, dataset=dataset, sampler=dict(type='DefaultSampler', shuffle=False)),
        test_cfg=dict(), test_evaluator=evaluator, default_scope='mmaction', experiment_name=str(folder), log_level='ERROR',
        custom_hooks=[dict(type='ssvideo.BrokenFilesHook')] if hook else None)


def test_testing__names_each_missing_video_and_swaps_none(videos, tmp_path):
    dump = tmp_path / 'dump.pkl'
    figures = runner_for(videos, tmp_path, [dict(type='ssvideo.VideoAccuracy', metric_list='top_k_accuracy'),
                                            dict(type='DumpResults', out_file_path=str(dump))]).test()
    assert figures['acc/missing_share'] == pytest.approx(3 / 7)
    results = pickle.loads(dump.read_bytes())
    assert [Path(result['filename']).name for result in results] == [f'{i}.mp4' for i in range(7)]
    for i, result in enumerate(results):
        assert bool(result['pred_score'].isnan().all()) == ('missing' in result) == (i in (0, 3, 6))
        assert not ('missing' not in result and result['pred_score'].isnan().any())
    right = sum(int(result['pred_label']) == i % 3 for i, result in enumerate(results))
    assert figures['acc/top1'] == pytest.approx(right / 7)
    lines = [json.loads(line) for line in (tmp_path / 'missing_predictions.jsonl').open()]
    assert [Path(line['path']).name for line in lines] == ['0.mp4', '3.mp4', '6.mp4']
    assert all(line['reason'] for line in lines)


def test_testing__a_metric_that_knows_nothing_of_it_is_refused(videos, tmp_path):
    with pytest.raises(ValueError, match="on_broken='missing', and AccMetric would score .* use .*ssvideo.VideoAccuracy"):
        runner_for(videos, tmp_path / 'a', [dict(type='AccMetric')]).test()
    with pytest.raises(KeyError, match='gt_label'):  # without the hook, too, nothing is scored
        runner_for(videos, tmp_path / 'b', [dict(type='AccMetric')], hook=False).test()
