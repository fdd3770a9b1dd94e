from __future__ import annotations

import math

import pytest
import torch

from ssvideo.evaluation import knn
from ssvideo.evaluation.knn import knn_accuracy, knn_votes

CLASSES = 4


def labelled(num_items: int, seed: int, channels: int = 6):
    """Features round a direction for each class, of any length."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (num_items,), generator=generator)
    centres = torch.randn(CLASSES, channels, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    features = centres[labels] + 1.5 * torch.randn(num_items, channels, dtype=torch.float64, generator=generator)
    return features * torch.rand(num_items, 1, dtype=torch.float64, generator=generator), labels


def slow_votes(bank, labels, query, k, temperature):
    """One query, in plain loops; in the scale of the nearest neighbour."""
    cosines = [float(item @ query / item.norm() / query.norm()) for item in bank]
    order = sorted(range(len(bank)), key=lambda i: -cosines[i])
    votes = [0.0] * CLASSES
    for i in order[:k]:
        votes[int(labels[i])] += math.exp((cosines[i] - cosines[order[0]]) / temperature)
    return votes


def slow_accuracy(votes, labels, j):
    right = 0
    for row, label in zip(votes, labels.tolist()):
        others = [vote for number, vote in enumerate(row) if number != label]
        right += sum(vote >= row[label] for vote in others) < j
    return right / len(labels)


@pytest.mark.parametrize(('k', 'temperature'), [(1, 0.07), (5, 0.07), (20, 1.0), (200, 0.2)])
def test_knn_votes__equal_plain_loops(k, temperature, monkeypatch):
    monkeypatch.setattr(knn, 'MAX_COSINES', 37 * 8)  # chunks of 8 queries, the last smaller
    bank, bank_labels = labelled(37, seed=0)
    queries, labels = labelled(21, seed=1)
    votes = knn_votes(bank, bank_labels, queries, CLASSES, k, temperature)
    expected = [slow_votes(bank, bank_labels, query, k, temperature) for query in queries]
    torch.testing.assert_close(votes, torch.tensor(expected, dtype=torch.float64))
    assert knn_accuracy(bank, bank_labels, queries, labels, k, temperature, topk=(1, 2)) == {
        f'top{j}': pytest.approx(slow_accuracy(expected, labels, j)) for j in (1, 2)}


def test_knn_votes__as_near_as_the_kth_votes_too():
    """Whatever the order of the bank: of four equal items no two are preferred."""
    bank, labels = torch.eye(3)[[0, 0, 0, 0, 1]], torch.tensor([0, 1, 1, 2, 3])
    for order in (torch.arange(5), torch.tensor([3, 4, 2, 0, 1])):
        votes = knn_votes(bank[order], labels[order], torch.tensor([[2.0, 0.1, 0.0]]), CLASSES, k=2)
        torch.testing.assert_close(votes, torch.tensor([[1.0, 2.0, 1.0, 0.0]]))


def test_knn_accuracy__features_that_tell_nothing_apart_gain_nothing():
    labels = torch.arange(20) % CLASSES
    assert knn_accuracy(torch.ones(20, 3), labels, torch.ones(20, 3), labels, topk=(1, 3, 4)) == {
        'top1': 0.0, 'top3': 0.0, 'top4': 1.0}
    assert knn_accuracy(torch.zeros(20, 3), labels, torch.zeros(20, 3), labels)['top1'] == 0.0


def test_knn_accuracy__low_temperatures_and_halves_stay_finite():
    bank, bank_labels = labelled(50, seed=2)
    queries, labels = labelled(30, seed=3)
    nearest = knn_accuracy(bank, bank_labels, queries, labels, k=1)
    assert 0.3 < nearest['top1'] < 1
    assert knn_accuracy(bank, bank_labels, -1e4 * queries, labels, temperature=1e-4)['top1'] <= nearest['top1']
    assert knn_accuracy(bank, bank_labels, queries, labels, k=50, temperature=1e-4) == nearest
    with torch.autocast('cpu', torch.bfloat16):
        votes = knn_votes(bank.half(), bank_labels, queries.half(), CLASSES)
    assert votes.dtype == torch.float32 and votes.isfinite().all()


@pytest.mark.parametrize(('changes', 'message'), [
    (dict(k=0), 'k must be at least 1'),
    (dict(temperature=0.0), 'temperature positive'),
    (dict(bank=torch.zeros(0, 3), bank_labels=torch.arange(0), queries=torch.zeros(0, 3), query_labels=torch.arange(0)),
     'at least one item'),
    (dict(queries=torch.ones(2, 5)), r'\(4, 3\) and \(2, 5\)'),
    (dict(bank_labels=torch.arange(3)), '4 items needs as many labels'),
    (dict(query_labels=torch.arange(3)), '2 queries need as many labels'),
    (dict(query_labels=torch.tensor([0, 9])), r'1 classes of which the bank has no item, as \[9\]')])
def test_knn_accuracy__wrong_arguments(changes, message):
    arguments = dict(bank=torch.ones(4, 3), bank_labels=torch.arange(4),
                     queries=torch.ones(2, 3), query_labels=torch.arange(2))
    with pytest.raises(ValueError, match=message):
        knn_accuracy(**arguments | changes)
