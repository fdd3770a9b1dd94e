from __future__ import annotations

import math

import pytest
import torch

from ssvideo.models.backbones import DividedTransformer, VideoSwin
from ssvideo.models.layers.divided_attention import from_lines, to_lines
from ssvideo.models.layers.windows import windows_of
from ssvideo.structures import PAD
from ssvideo.visualization.attention import attention_modules, line_weights, watch_attention, window_weights

GRID = (3, 4, 2)


def transformer(layout: str) -> DividedTransformer:
    torch.manual_seed(0)
    model = DividedTransformer(GRID, vocab_size=9, embed_dims=24, num_layers=2, num_heads=6, layout=layout).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # far from uniform attention
    return model


def swin(**kwargs) -> VideoSwin:
    torch.manual_seed(0)
    kwargs = dict(patch_size=(2, 4, 4), embed_dims=8, depths=(2, 2), num_heads=(2, 4), window_size=(2, 3, 3)) | kwargs
    model = VideoSwin(**kwargs).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def tokens_with_pad() -> torch.Tensor:
    tokens = torch.randint(9, (2, *GRID))
    tokens[1, 2] = PAD
    return tokens


@pytest.mark.parametrize('layout', ['T,H|W', 'THW', 'T|H|W', 'T,HW'])
def test_line_weights__with_the_values_make_the_output_of_the_module(layout):
    model, tokens, seen = transformer(layout), tokens_with_pad(), []
    module = list(attention_modules(model).values())[-1]
    module.register_forward_hook(lambda module, args, output: seen.append((args, output)))
    with torch.no_grad():
        model(tokens)
        (x, masks), output = seen[0]
        parts = []
        for (axes, weights), qkv in zip(line_weights(module, x, masks).items(), module.qkv(x).chunk(len(module.branches), -1)):
            assert torch.allclose(weights.sum(-1), torch.ones(()), atol=1e-5)
            assert (weights.masked_select(~masks[axes]) == 0).all()  # nobody attends to PAD
            value = to_lines(qkv.unflatten(-1, (3, -1, module.head_dims))[:, :, 2], GRID, axes)
            parts.append(from_lines(weights @ value, GRID, axes))
        cls, cells = zip(*parts)
        expected = module.out(torch.cat([torch.cat(cls, -2), torch.cat(cells, -2).flatten(1, 3)], 1).flatten(2))
    assert torch.allclose(expected, output, atol=1e-5)


def test_watch_attention__of_cls_is_the_mean_of_softmax_over_lines_written_out():
    model, tokens = transformer('T,H|W'), tokens_with_pad()
    modules = attention_modules(model)
    name, module = next(iter(modules.items()))  # along time
    seen = []
    module.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.no_grad(), watch_attention({name: module}) as found:
        model(tokens)
    assert [found[0].name, tuple(found[0].weights.shape)] == [f'{name}, T', (2, 6, *GRID)]
    query, key, _ = module.qkv(seen[0]).detach().unflatten(-1, (3, 6, 4)).unbind(2)  # (N, 1 + cells, heads, 4)
    for clip, head, y, x in [(0, 0, 0, 0), (0, 5, 3, 1), (1, 2, 1, 0)]:
        keys = [0] + [1 + (t * 4 + y) * 2 + x for t in range(3) if tokens[clip, t, y, x] != PAD]
        scores = [math.exp(float(query[clip, 0, head] @ key[clip, k, head]) / 2) for k in keys]
        expected = [score / sum(scores) / 8 for score in scores[1:]]  # 8 lines, whose copies of [CLS] are averaged
        assert found[0].weights[clip, head, :len(expected), y, x].tolist() == pytest.approx(expected, rel=1e-4)
    assert (found[0].weights[1, :, 2] == 0).all()
    assert (found[0].weights.flatten(2).sum(-1) < 1).all()


def test_watch_attention__of_a_cell_stays_on_its_lines():
    model, tokens = transformer('T,H|W'), torch.randint(9, (2, *GRID))
    with torch.no_grad(), watch_attention(attention_modules(model), place=(0.4, 0.3, 0.5)) as found:
        model(tokens)
    t, y, x = 1, 1, 1  # that is where the place is
    along = dict(T=(slice(None), y, x), H=(t, slice(None), x), W=(t, y, slice(None)))
    assert [one.name[-1] for one in found] == ['T', 'H', 'W'] * 2
    for one in found:
        line = one.weights[:, :, *along[one.name[-1]]]
        assert (line > 0).all() and torch.equal(line.sum(-1), one.weights.flatten(2).sum(-1))
        assert (line.sum(-1) < 1).all()  # the rest goes to [CLS]


def test_watch_attention__changes_nothing_and_stops():
    model, tokens = transformer('T,H|W'), torch.randint(9, (1, *GRID))
    with torch.no_grad():
        before = model(tokens).summary
        with watch_attention(attention_modules(model)) as found:
            during = model(tokens).summary
        count = len(found)
        model(tokens)
    assert torch.equal(before, during) and len(found) == count == 6


@pytest.mark.parametrize('shifted', [False, True])
@pytest.mark.parametrize('grid', [(4, 6, 6), (3, 5, 7)])  # the second is padded
def test_window_weights__with_the_values_make_the_output_of_the_module(grid, shifted):
    module = swin().layers[0].blocks[0].attn
    windows = windows_of(2, grid, (2, 3, 3), (1, 1, 1) if shifted else (0, 0, 0), torch.device('cpu'))
    with torch.no_grad():
        x = windows.cut(torch.randn(2, *grid, 8))
        weights = window_weights(module, x, windows, windows.apart())
        value = module.qkv(x).unflatten(-1, (3, 2, 4))[:, :, 2].transpose(1, 2)
        expected = module.proj((weights @ value).transpose(1, 2).flatten(2))
        assert torch.allclose(module(x, windows, windows.apart()), expected, atol=1e-5)
    assert torch.allclose(weights.sum(-1), torch.ones(()), atol=1e-5)
    if shifted:
        assert weights[(windows.apart().expand(-1, 2, -1, -1).repeat(2, 1, 1, 1))].max() < 1e-6


@pytest.mark.parametrize('size', [24, 20])  # 6 cells, two windows of 3; 5 cells, padded
def test_watch_attention__in_windows_all_that_is_paid_arrives(size):
    model = swin()
    with torch.no_grad(), watch_attention(attention_modules(model)) as found:
        model(torch.randn(2, 3, 8, size, size))
    assert [one.name for one in found] == [f'layers.{stage}.blocks.{block}' for stage in (0, 1) for block in (0, 1)]
    for one in found:
        total, cells = one.weights.flatten(2).sum(-1), one.weights[0, 0].numel()
        if size == 24:
            assert torch.allclose(total, torch.full_like(total, cells), rtol=1e-4)
        else:
            assert (total < cells + 1e-3).all()  # some is paid to the padding


def test_watch_attention__of_a_cell_stays_in_its_window():
    model = swin()
    with torch.no_grad(), watch_attention(attention_modules(model), place=(0.0, 0.5, 0.99)) as found:
        model(torch.randn(2, 3, 8, 24, 24))
    straight = found[0].weights  # (2, 2, 4, 6, 6), cell (0, 3, 5)
    assert torch.allclose(straight[:, :, :2, 3:, 3:].flatten(2).sum(-1), torch.ones(()), atol=1e-5)
    assert torch.allclose(straight.flatten(2).sum(-1), torch.ones(()), atol=1e-5)


def test_attention_modules__a_backbone_without_is_refused():
    with pytest.raises(ValueError, match='Linear has no DividedAttention and no SwinBlock'):
        attention_modules(torch.nn.Linear(2, 2))


def test_watch_attention__a_place_beyond_the_clip_is_refused():
    model = swin()
    with pytest.raises(ValueError, match='from 0 to below 1'), watch_attention(attention_modules(model), (0, 1, 0)):
        model(torch.randn(1, 3, 8, 24, 24))
