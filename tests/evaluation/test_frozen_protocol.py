"""What is chosen, on what, and what is told of it."""
from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from ssvideo.evaluation import frozen_protocol
from ssvideo.evaluation.feature_cache import FrozenFeatures
from ssvideo.evaluation.frozen_methods import Method, NearestNeighbours, Part, Probes
from ssvideo.evaluation.frozen_protocol import choose, evaluate_frozen
from ssvideo.evaluation.frozen_table import frozen_table
from ssvideo.evaluation.knn import knn_accuracy

CPU, CLASSES = torch.device('cpu'), 4


def features(num_videos: int, seed: int, signal: float = 2.5, missing: tuple[int, ...] = ()) -> FrozenFeatures:
    """Classes lie apart in the summary and in one token, not in the map."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(num_videos) % CLASSES
    tokens = torch.randn(num_videos, 3, 16, generator=generator)
    tokens[torch.arange(num_videos), 1, labels] += 3 * signal
    summary = torch.randn(num_videos, 16, generator=generator)
    summary[torch.arange(num_videos), labels] += 2 * signal
    gone = torch.zeros(num_videos, dtype=torch.bool)
    gone[list(missing)] = True
    pooled = dict(summary=summary, map=torch.randn(num_videos, 16, generator=generator))
    return FrozenFeatures(pooled, labels, gone, lambda items: tokens[items].half())


def methods() -> list[Method]:
    training = dict(epochs=3, min_steps=60, batch_size=16, device=CPU)
    return [NearestNeighbours('summary', (1, 5, 20), (0.07, 1.0), CPU), Probes('summary', (1e-6, 1e-2), (0.01, 0.5), **training),
            Probes('tokens', (1e-6, 1e-2), (0.01,), **training | dict(min_steps=150))]


class Recording(Method):
    """Scores are what ``answers`` says of each setting; what was asked is kept."""
    name, grid = 'recording', [dict(lr=1.0), dict(lr=2.0), dict(lr=3.0)]

    def __init__(self, sharpness: tuple[float, ...], wrong: tuple[bool, ...]) -> None:
        self.sharpness, self.wrong, self.asked = sharpness, wrong, []

    def scores(self, known, settings, asked, num_classes, seed):
        self.asked.append((known.items.tolist(), list(settings), [part.items.tolist() for part in asked]))
        found = []
        for part in asked:
            one_hot = torch.nn.functional.one_hot(part.labels, num_classes).float()
            found.append(torch.stack([self.sharpness[self.grid.index(s)] * (-1 if self.wrong[self.grid.index(s)] else 1) * one_hot
                                      for s in settings]))
        return found


def test_evaluate_frozen__finds_what_is_in_the_features():
    rows = evaluate_frozen(features(160, 0), dict(val=features(40, 1)), methods(), [1.0], [0, 1])
    for row in rows:
        mean, deviation = row.summary('val')
        assert mean > 0.75 and deviation is not None, row.method
    assert {trial.setting['lr'] for row in rows[1:] for trial in row.trials} == {1e-2}, 'the other rate learns nothing'
    pure_noise = evaluate_frozen(features(80, 0, signal=0.0), dict(val=features(40, 1, signal=0.0)), methods(), [1.0], [0])
    assert max(row.summary('val')[0] for row in pure_noise) < 0.6


def test_evaluate_frozen__the_choice_does_not_depend_on_the_test_list():
    train = features(80, 0)
    found = [evaluate_frozen(train, dict(val=test), methods(), [1.0, 0.1], [0, 1]) for test in
             (features(40, 1), features(40, 2, signal=0.0))]
    chosen = [[(trial.setting, trial.chosen_by, trial.num_labels) for row in rows for trial in row.trials] for rows in found]
    assert chosen[0] == chosen[1]
    assert found[0][0].trials[0].figures != found[1][0].trials[0].figures


def test_evaluate_frozen__a_setting_is_chosen_on_what_is_held_out_and_tested_once():
    train, test = features(40, 0), features(20, 1)
    method = Recording((1.0, 2.0, 9.0), (False, False, True))
    [row] = evaluate_frozen(train, dict(val=test, test=test), [method], [1.0], [0])
    (stay, settings, [held]), (known, tested_with, tested) = method.asked
    assert settings == method.grid and tested_with == [dict(lr=2.0)], 'right, and surer than the first'
    assert not set(stay) & set(held) and sorted(stay + held) == known == list(range(40))
    assert len(held) == 8 and tested == [list(range(20))] * 2
    assert row.trials[0].held_out == 8 and row.trials[0].chosen_by == 1.0
    assert row.trials[0].figures == dict.fromkeys(('val', 'test'), dict(top1=1.0, top5=1.0))


def test_evaluate_frozen__few_labels_are_all_that_is_learned_from():
    method = Recording((1.0, 2.0, 3.0), (False, False, False))
    rows = evaluate_frozen(features(80, 0), dict(val=features(20, 1)), [method], [0.1, 0.01], [0, 1])
    assert [trial.num_labels for row in rows for trial in row.trials] == [8, 8, 4, 4]
    tenth = [asked for asked in method.asked if len(asked[0]) in (4, 8)]
    assert len({tuple(known) for known, _, _ in tenth if len(known) == 8}) == 2, 'every seed draws its own'
    assert [trial.setting for trial in rows[1].trials] == [method.default] * 2, 'one label a class: nothing to hold out'
    assert rows[1].trials[0].held_out == 0 and 'default' in frozen_table(rows)


def test_evaluate_frozen__missing_videos_are_not_learned_from_and_count_as_wrong():
    method = Recording((1.0, 2.0, 3.0), (False, False, False))
    train, test = features(40, 0, missing=(3, 7)), features(20, 1, missing=(0, 1, 2, 3, 4))
    [row] = evaluate_frozen(train, dict(val=test), [method], [1.0], [0])
    assert not {3, 7} & {item for known, _, asked in method.asked[:1] for item in known + asked[0]}
    assert row.trials[0].figures['val']['top1'] == 0.75
    with pytest.raises(ValueError, match='no video of val can be read'):
        evaluate_frozen(train, dict(val=features(4, 1, missing=(0, 1, 2, 3))), [method], [1.0], [0])


def test_nearest_neighbours__are_those_of_knn_accuracy():
    train, test = features(60, 0), features(30, 1)
    method = NearestNeighbours('summary', (5,), (0.07,), CPU)
    [row] = evaluate_frozen(train, dict(val=test), [method], [1.0], [0])
    expected = knn_accuracy(train.pooled['summary'], train.labels, test.pooled['summary'], test.labels, 5, 0.07)
    assert row.trials[0].figures['val'] == pytest.approx(expected)


def test_probes__read_only_the_vectors_of_the_known_videos():
    train = features(40, 0)
    known, asked = Part.of(train, np.arange(20)), Part.of(features(8, 1), np.arange(8))
    method = methods()[1]
    before = method.scores(known, method.grid, [asked], CLASSES, 0)[0]
    train.pooled['summary'][20:] = 1e6
    assert torch.equal(before, method.scores(known, method.grid, [asked], CLASSES, 0)[0])


def test_choose__equal_settings_leave_the_first():
    method = Recording((1.0, 1.0, 1.0), (False, False, False))
    assert choose(method, features(40, 0), np.arange(40), CLASSES, 0)[0] == dict(lr=1.0)


def test_frozen_table__says_mean_and_deviation(monkeypatch):
    monkeypatch.setattr(frozen_protocol, 'topk_accuracy', lambda scores, labels, topk=(1, 5): dict(top1=0.25, top5=1.0))
    rows = evaluate_frozen(features(40, 0), dict(val=features(20, 1)), [Recording((1.0, 2.0, 3.0), (False,) * 3)], [1.0], [0, 1])
    assert frozen_table(rows) == ('| method | labels | top-1 on val | chosen |\n| --- | --- | --- | --- |\n'
                                  '| recording | all (40) | 25.0 ± 0.0 | lr 3 |\n')
    assert json.loads(json.dumps(rows[0].as_dict()))['mean'] == dict(val=0.25)
