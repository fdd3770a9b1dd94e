"""Attention with a bias that learns, against attention written out."""
from __future__ import annotations

import pytest
import torch

from ssvideo.models.layers import biased_attention as module
from ssvideo.models.layers.biased_attention import SEPARATED, biased_attention
from ssvideo.models.layers.windows import windows_of

HEADS, DIMS = 3, 12


def written_out(qkv, bias, apart):
    """As the paper says it, with all weights in memory."""
    query, key, value = qkv.unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
    scores = query @ key.transpose(-1, -2) / (DIMS // HEADS)**0.5
    added = bias if apart is None else (bias + SEPARATED * apart).repeat(len(qkv) // len(apart), 1, 1, 1)
    return ((scores + added).softmax(-1) @ value).transpose(1, 2).flatten(2)


def problem(shifted, dtype):
    """Two clips in windows of 12 cells."""
    windows = windows_of(2, (4, 6, 9), (2, 2, 3), (1, 1, 1) if shifted else (0, 0, 0), torch.device('cpu'))
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(2 * windows.num_windows, windows.length, 3 * DIMS, generator=generator, dtype=torch.float64)
    bias = torch.randn(HEADS, windows.length, windows.length, generator=generator, dtype=torch.float64)
    return qkv.to(dtype).requires_grad_(), bias.to(dtype).requires_grad_(), windows


@pytest.mark.parametrize('weights_at_once', [1, 300, 2**18], ids=['a head of a window', 'some heads', 'many windows'])
@pytest.mark.parametrize('shifted', [False, True])
def test_attention_and_gradients__equal_written_out(monkeypatch, shifted, weights_at_once):
    monkeypatch.setattr(module, 'WEIGHTS_AT_ONCE', weights_at_once)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        qkv, bias, windows = problem(shifted, dtype)
        got = biased_attention(qkv, bias, windows.apart(), list(windows.runs))[0]
        expected = written_out(qkv, bias, windows.apart())
        torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)
        weights = torch.randn(got.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
        wanted = torch.autograd.grad((expected * weights).sum(), (qkv, bias))
        for a, b in zip(torch.autograd.grad((got * weights).sum(), (qkv, bias)), wanted):
            torch.testing.assert_close(a, b, rtol=10 * tolerance, atol=10 * tolerance)


def test_half_precision__is_as_near_as_its_inputs_allow():
    qkv, bias, windows = problem(True, torch.bfloat16)
    exact = [tensor.detach().double().requires_grad_() for tensor in (qkv, bias)]
    got = biased_attention(qkv, bias, windows.apart(), list(windows.runs))[0]
    expected = written_out(*exact, windows.apart())
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.double(), expected, rtol=0.02, atol=0.02)
    for a, b in zip(torch.autograd.grad(got.sum(), (qkv, bias)), torch.autograd.grad(expected.sum(), exact)):
        assert a.dtype == torch.bfloat16
        torch.testing.assert_close(a.double(), b, rtol=0.05, atol=0.05 * b.abs().max().item())


def test_operator__is_right_for_the_compiler_and_autograd():
    qkv, bias, windows = problem(True, torch.float64)
    torch.library.opcheck(biased_attention, (qkv, bias, windows.apart(), list(windows.runs)))


def test_windows__that_are_parted_alike_follow_each_other():
    windows = windows_of(1, (4, 6, 9), (2, 2, 3), (0, 1, 1), torch.device('cpu'))
    apart, first = windows.apart(), 0
    assert windows.runs == (8, 4, 4, 2) and sum(windows.runs) == len(apart), '2 x 3 x 3 windows, no shift in time'
    for length in windows.runs:
        assert (apart[first:first + length] == apart[first]).all()
        first += length
    assert not apart[0].any() and apart[-1].any(), 'most windows have no border inside them'
