from __future__ import annotations

import pytest
import torch

from ssvideo.evaluation import retrieval
from ssvideo.evaluation.retrieval import nearest, recall_at


def test_nearest__finds_the_duplicate_of_each_query_whatever_its_length(monkeypatch):
    monkeypatch.setattr(retrieval, 'CHUNK', 3)
    torch.manual_seed(0)
    bank = torch.randn(20, 8)
    order = torch.randperm(20)[:7]
    cosines, found = nearest(bank[order] * 3.5, bank, k=2)
    assert torch.equal(found[:, 0], order) and torch.allclose(cosines[:, 0], torch.ones(7)) and (cosines[:, 1] < 0.99).all()


def test_nearest__a_video_is_not_its_own_neighbour_and_ties_keep_their_order():
    bank = torch.tensor([[1.0, 0], [1, 0], [0, 1], [2, 0]])
    cosines, found = nearest(bank, bank, k=3, itself=[0, 1, 2, None])
    assert found.tolist() == [[1, 3, 2], [0, 3, 2], [0, 1, 3], [0, 1, 3]]
    assert cosines[0].tolist() == [1, 1, 0]


def test_nearest__agrees_with_all_cosines_written_out():
    torch.manual_seed(1)
    queries, bank = torch.randn(5, 4), torch.randn(9, 4)
    expected = [[float(q @ b / q.norm() / b.norm()) for b in bank] for q in queries]
    cosines, found = nearest(queries, bank, k=9)
    for row, values, order in zip(expected, cosines.tolist(), found.tolist()):
        assert order == sorted(range(9), key=row.__getitem__, reverse=True)
        assert values == pytest.approx(sorted(row, reverse=True), abs=1e-5)


def test_nearest__more_neighbours_than_videos_are_refused():
    bank = torch.randn(4, 3)
    with pytest.raises(ValueError, match='k: got 4, expected 1 to 3, as there are 4 videos to be found, one of which is'):
        nearest(bank, bank, 4, itself=[0, 1, 2, 3])
    with pytest.raises(ValueError, match='as many channels'):
        nearest(torch.randn(2, 5), bank, 1)


def test_recall_at__counts_queries_with_a_neighbour_of_their_class():
    neighbours = torch.tensor([[0, 1, 1], [2, 2, 1], [0, 0, 0], [2, 1, 2]])
    found = recall_at(neighbours, torch.tensor([0, 1, 1, 1]), [1, 2, 3])
    assert found == {'recall@1': 0.25, 'recall@2': 0.5, 'recall@3': 0.75}
    with pytest.raises(ValueError, match=r'got k of \[4\], expected 1 to 3'):
        recall_at(neighbours, torch.zeros(4), [4])
