import pytest
import torch

from ssvideo.evaluation.topk import topk_accuracy


def test_topk_accuracy__counts_as_by_hand():
    scores = torch.tensor([[3.0, 2, 1], [1, 3, 2], [1, 2, 3], [2, 3, 1]])
    assert topk_accuracy(scores, torch.tensor([0, 1, 0, 0]), (1, 2, 3)) == dict(top1=0.5, top2=0.75, top3=1.0)


def test_topk_accuracy__a_tie_counts_against():
    assert topk_accuracy(torch.ones(4, 3), torch.tensor([0, 1, 2, 0]), (1, 3)) == dict(top1=0.0, top3=1.0)


def test_topk_accuracy__labels_must_fit():
    with pytest.raises(ValueError, match='at least one item'):
        topk_accuracy(torch.ones(2, 3), torch.tensor([0]))
