"""The figures of a healthy training, in whole, small runs."""
from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope

from ssvideo.datasets.broken import BrokenLog
from ssvideo.engine.hooks import HealthHook, health
from ssvideo.evaluation.health import effective_rank, feature_std
from ssvideo.visualization import read_scalars

sys.path.insert(0, str(Path(__file__).parent))
from pretraining_runs import Pairs, pretraining_run  # noqa: E402

KEYS = ('video_codebook_use', 'video_feature_std', 'video_effective_rank')


@pytest.fixture(autouse=True)
def fresh_scope():
    yield
    DefaultScope._instance_dict.clear()


class Seen(Hook):
    """What passes between the parts of the model."""

    def __init__(self):
        self.summaries, self.ids = [], []

    def before_train(self, runner):
        def watch(stream, features, targets):
            masked = targets['stored']
            self.summaries.append(features['masked'].summary.detach().clone())
            self.ids.append(masked.tokens[masked.mask])

        runner.model.watchers.append(watch)


def test_health__figures_are_those_of_what_passed(tmp_path):
    seen = Seen()
    pretraining_run(tmp_path, 4, max_epochs=1, hooks=[seen], default_hooks=dict(
        checkpoint=None, health=dict(type='ssvideo.HealthHook', num_clips=50))).train()
    scalars = {name: [value for _, value in points] for name, points in read_scalars(tmp_path).items()}
    for index, end in enumerate((4, 8, 12, 16)):
        last = torch.cat(seen.summaries[:end])[-50:]
        assert len(last) == min(50, 8 * end)
        assert scalars['video_feature_std'][index] == pytest.approx(feature_std(last), rel=1e-4)
        assert scalars['video_effective_rank'][index] == pytest.approx(effective_rank(last), rel=1e-4)
        assert scalars['video_codebook_use'][index] == pytest.approx(len(torch.cat(seen.ids[end - 4:end]).unique()) / 16)
    assert scalars['video_codebook_use'][0] == pytest.approx(12 / 16), 'the ids that occur'
    assert 1 < scalars['video_effective_rank'][0] < 16 and 0 < scalars['video_feature_std'][0] < 1.1
    assert all(1 <= value <= 12 for value in scalars['video_mlm_target_perplexity'])
    assert {'video_mlm_predicted_perplexity', 'video_mlm_accuracy', 'video_nce_positive_similarity', 'grad_norm', 'time',
            'video_nce_negative_similarity', 'data_time', 'samples_per_s', 'skipped_steps'} <= scalars.keys()


@pytest.mark.parametrize('num_processes', [1, 8])
def test_health__samples_per_second_are_those_of_the_steps(num_processes, tmp_path, monkeypatch):
    monkeypatch.setattr(health, 'get_world_size', lambda: num_processes)
    pretraining_run(tmp_path, 4, max_epochs=1, default_hooks=dict(checkpoint=None)).train()
    scalars = read_scalars(tmp_path)
    for (_, rate), (_, seconds) in zip(scalars['samples_per_s'], scalars['time']):
        assert rate == pytest.approx(4 * num_processes / seconds)


def test_health__skipped_files_are_counted_while_workers_write(tmp_path):
    class WithLog(Pairs):
        broken_log = BrokenLog(tmp_path / 'broken_videos.jsonl')

        def __getitem__(self, key):
            if key[0] % 8 == 0:
                BrokenLog(self.broken_log.lines.path).add(f'{key[0]}.mp4', 'cut')
            return super().__getitem__(key)

    pretraining_run(tmp_path, 16, max_epochs=1, default_hooks=dict(checkpoint=None), train_dataloader=dict(
        dataset=WithLog(), batch_size=4, num_workers=1, sampler=dict(type='ssvideo.DrawSampler'))).train()
    assert read_scalars(tmp_path)['skipped_files'] == [(16, 8.0)]


def test_health__the_run_is_the_same_with_it_and_without(tmp_path):
    losses = {}
    for name, changes in (('with', {}), ('without', dict(health=None))):
        pretraining_run(tmp_path / name, 4, default_hooks=dict(checkpoint=None, **changes)).train()
        losses[name] = read_scalars(tmp_path / name)['loss']
        DefaultScope._instance_dict.clear()
    assert losses['with'] == losses['without'] and len(losses['with']) == 8


def test_health__wrong_arguments():
    with pytest.raises(ValueError, match='num_clips of at least 2, got 1'):
        HealthHook(num_clips=1)


def test_health__weights_and_biases_by_option(tmp_path, monkeypatch):
    """The line that the documentation has, and a stand-in for the library, which needs a network."""
    logged, started = [], []
    nothing = lambda *words, **more: None  # noqa: E731
    monkeypatch.setitem(sys.modules, 'wandb', SimpleNamespace(
        init=lambda **words: started.append(words), log=lambda scalars, **words: logged.append(dict(scalars)),
        define_metric=nothing, join=nothing, config=SimpleNamespace(update=nothing),
        run=SimpleNamespace(dir=str(tmp_path), log_code=nothing)))
    backends = [dict(type='LocalVisBackend'), dict(type='WandbVisBackend', init_kwargs=dict(project='ssvideo'))]
    pretraining_run(tmp_path, 8, max_epochs=1, default_hooks=dict(checkpoint=None),
                    visualizer=dict(type='ActionVisualizer', vis_backends=backends)).train()
    assert started[0]['project'] == 'ssvideo'
    assert len(logged) == 2 and {'loss', 'grad_norm', *KEYS} <= logged[-1].keys()
