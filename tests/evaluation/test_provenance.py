"""What is said of a model's making is what lies there."""
from __future__ import annotations

import hashlib
import json

import torch

from ssvideo.evaluation.provenance import data_of, results_of, versions


def test_data_of__lists_stores_folders_and_what_is_not_there(tmp_path):
    (tmp_path / 'train.txt').write_text('a.mp4 0\nb.mp4 1\n')
    store = tmp_path / 'tokens'
    store.mkdir()
    (store / 'manifest.json').write_text(json.dumps(dict(videos='abc', num_videos=7, tokenizer='def', fps=2)))
    config = dict(
        train_dataloader=dict(video=dict(dataset=dict(source=str(tmp_path / 'train.txt'), data_root='videos')),
                              image=dict(dataset=dict(source=str(tmp_path)))),
        val_dataloader=dict(dataset=dict(store=[str(store), 'gone'], labels=str(tmp_path / 'train.txt'))),
        test_dataloader=None)
    found = {entry.pop('path'): entry for entry in data_of(config)}
    assert found[str(tmp_path / 'train.txt')] == dict(
        used_by=['train_dataloader.video', 'val_dataloader'], num_lines=2,
        sha256=hashlib.sha256(b'a.mp4 0\nb.mp4 1\n').hexdigest())
    assert found[str(store)] == dict(used_by=['val_dataloader'], sha256='abc', num_videos=7, tokenizer='def')
    assert found[str(tmp_path)] == dict(used_by=['train_dataloader.image'], folder=True)
    assert found['gone'] == dict(used_by=['val_dataloader'], missing=True)


def test_results_of__the_last_values_tests_and_repeats(tmp_path):
    run = tmp_path / 'seed_0'
    log = run / '20260101_000000' / 'vis_data' / 'scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text('{"loss": 3.0, "lr": 0.1, "iter": 5, "step": 5}\n{"loss": 2.0, "lr": 0.1, "iter": 10, "step": 10}\n'
                   '{"acc/top1": 0.5, "step": 1}\n{"acc/top1": 0.2')  # killed while it wrote
    test = run / '20260102_000000' / '20260102_000000.json'
    test.parent.mkdir()
    test.write_text('{"acc/top1": 0.6}')
    (tmp_path / 'results.json').write_text('{"mean": 0.55}')
    assert results_of(run) == {
        'logged': {'loss': [10, 2.0], 'acc/top1': [1, 0.5]}, 'tested': {'20260102_000000': {'acc/top1': 0.6}},
        'results.json': {'mean': 0.55}}
    assert results_of(tmp_path / 'nothing') == {}
    other = tmp_path / 'another_run'
    other.mkdir()
    assert results_of(other) == {}, "the results above are those of the seeds' folders"


def test_versions__of_what_is_installed():
    found = versions()
    assert {'python', 'ssvideo', 'torch', 'mmengine', 'mmaction2'} <= found.keys()
    assert found['torch'] == torch.__version__.split('+')[0]
