"""A large linear map on a CPU is a convolution, and the same map."""
from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from ssvideo.models.layers import linear as module
from ssvideo.models.layers.linear import Linear


@pytest.fixture(autouse=True)
def two_threads():
    """With one, torch gives no such convolution to oneDNN."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def pair(bias=True):
    """Ours and torch's, with the same weights."""
    torch.manual_seed(0)
    theirs = nn.Linear(24, 40, bias=bias)
    ours = Linear(24, 40, bias=bias)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def operators(layer, x):
    """What a call runs."""
    with profile(activities=[ProfilerActivity.CPU]) as trace:
        layer(x)
    return {event.key for event in trace.key_averages()}


@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('shape', [(1000, 24), (2, 5, 100, 24)])
def test_large_map__has_the_results_and_gradients_of_torchs(monkeypatch, shape, bias):
    monkeypatch.setattr(module, 'LARGE_PRODUCT', 1)
    ours, theirs = pair(bias)
    x = torch.randn(shape, requires_grad=True)
    turned = torch.randn(24, 1000).t().requires_grad_()  # rows that are not contiguous
    for rows in (x, turned):
        assert 'aten::mkldnn_convolution' in operators(ours, rows)
        got, expected = ours(rows), theirs(rows)
        assert got.shape == expected.shape and got.is_contiguous()
        torch.testing.assert_close(got, expected)
        weights = torch.randn_like(got)
        wanted = torch.autograd.grad((expected * weights).sum(), (rows, *theirs.parameters()))
        for a, b in zip(torch.autograd.grad((got * weights).sum(), (rows, *ours.parameters())), wanted):
            torch.testing.assert_close(a, b, rtol=0, atol=2e-6 * b.abs().max().item())  # sums over 1000 rows


def test_small_map__is_a_matrix_product():
    assert 'aten::conv2d' not in operators(pair()[0], torch.randn(1000, 24))


def test_one_thread__takes_a_matrix_product(monkeypatch):
    monkeypatch.setattr(module, 'LARGE_PRODUCT', 1)
    torch.set_num_threads(1)
    assert 'aten::conv2d' not in operators(pair()[0], torch.randn(1000, 24))


def test_other_precisions__are_matrix_products(monkeypatch):
    monkeypatch.setattr(module, 'LARGE_PRODUCT', 1)
    layer, x = pair()[0], torch.randn(1000, 24)
    with torch.autocast('cpu', torch.bfloat16):
        assert 'aten::conv2d' not in operators(layer, x)
        assert layer(x).dtype == torch.bfloat16
    assert 'aten::conv2d' not in operators(layer.double(), x.double())


def test_exported_graph__holds_a_linear_map_for_other_machines(monkeypatch):
    monkeypatch.setattr(module, 'LARGE_PRODUCT', 1)
    layer, x = pair()[0], torch.randn(1000, 24)
    graph = torch.export.export(layer, (x,))
    assert not any('conv' in str(node.target) for node in graph.graph.nodes)
    torch.testing.assert_close(graph.module()(x), layer(x))
