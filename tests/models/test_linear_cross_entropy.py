"""The cross entropy that never has all scores, against torch's own of all of them."""
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from ssvideo.models.layers import linear_cross_entropy as module
from ssvideo.models.layers.linear_cross_entropy import linear_cross_entropy


@pytest.fixture
def problem():
    """Hidden vectors, weights and biases of 30 ids, and ids."""
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((11, 6), (30, 6), (30,))]
    return [tensor.requires_grad_() for tensor in tensors], torch.randint(30, (11,), generator=generator)


@pytest.mark.parametrize('rows', [1, 4, 11, 2048])
def test_loss_and_gradients__are_those_of_all_scores_at_once(problem, monkeypatch, rows):
    monkeypatch.setattr(module, 'ROWS_AT_ONCE', rows)
    tensors, targets = problem
    loss, predicted = linear_cross_entropy(*tensors, targets)
    scores = F.linear(*tensors)
    expected = F.cross_entropy(scores, targets)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(predicted, scores.argmax(1))
    for got, wanted in zip(torch.autograd.grad(3 * loss, tensors), torch.autograd.grad(3 * expected, tensors)):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)


def test_autocast__multiplies_in_bfloat16_and_sums_in_float32(problem):
    (hidden, weight, bias), targets = problem
    tensors = [tensor.detach().float().requires_grad_() for tensor in (hidden, weight, bias)]
    with torch.autocast('cpu', torch.bfloat16):
        loss, _ = linear_cross_entropy(*tensors, targets)
        scores = F.linear(*tensors).float()
        expected = F.cross_entropy(scores, targets)
    assert loss.dtype == torch.float32 and scores.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)  # the same rounded scores
    for got, wanted in zip(torch.autograd.grad(loss, tensors), torch.autograd.grad(expected, tensors)):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, wanted, rtol=0.02, atol=0.002)


def test_scores__never_exist_for_more_rows_than_asked(problem, monkeypatch):
    monkeypatch.setattr(module, 'ROWS_AT_ONCE', 3)
    seen = []
    original = torch.addmm
    monkeypatch.setattr(torch, 'addmm', lambda *args: seen.append(args[1].shape[0]) or original(*args))
    tensors, targets = problem
    linear_cross_entropy(*tensors, targets)[0].backward()
    assert seen == [3, 3, 3, 2]
