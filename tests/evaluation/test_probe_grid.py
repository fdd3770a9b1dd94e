"""Probes side by side are what each would be alone."""
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from ssvideo.evaluation.probe_grid import Point, ProbeGrid
from ssvideo.evaluation.probes import AttentiveProbes, LinearProbes

CPU, CLASSES, DIMS, TOKENS = torch.device('cpu'), 3, 128, 5
POINTS = [Point(1e-3, 0.0), Point(1e-2, 0.5), Point(3e-3, 0.05)]
TRAINING = dict(epochs=2, min_steps=11, batch_size=8)  # no multiple of an epoch, and a smaller last batch
KINDS = dict(
    linear=(lambda num: LinearProbes(num, DIMS, CLASSES).double(), (DIMS,)),
    attentive=(lambda num: AttentiveProbes(num, DIMS, CLASSES).double(), (TOKENS, DIMS)))


def some_inputs(shape: tuple[int, ...], num_items: int = 21) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(num_items, *shape, generator=generator).double(),
            torch.randint(CLASSES, (num_items,), generator=generator))


@pytest.mark.parametrize('kind', KINDS)
def test_probe_grid__equals_training_each_point_alone(kind):
    make, shape = KINDS[kind]
    inputs, labels = some_inputs(shape)
    grid = ProbeGrid(make, POINTS, 3, CPU)
    grid.train(inputs.__getitem__, labels, **TRAINING)
    scores = grid.scores(inputs.__getitem__, len(labels))
    for number, point in enumerate(POINTS):
        alone = ProbeGrid(make, [point], 3, CPU)
        alone.train(inputs.__getitem__, labels, **TRAINING)
        torch.testing.assert_close(scores[number], alone.scores(inputs.__getitem__, len(labels))[0], rtol=1e-9, atol=1e-9)
    assert (scores[0] - scores[1]).abs().max() > 1e-2, 'other settings, other probes'


def test_probe_grid__equals_a_plain_training_with_torch():
    inputs, labels = some_inputs((DIMS,))
    grid = ProbeGrid(KINDS['linear'][0], POINTS, 3, CPU)
    grid.train(inputs.__getitem__, labels, epochs=4, min_steps=0, batch_size=len(labels))  # whole batches: no order
    for number, point in enumerate(POINTS):
        layer = torch.nn.Linear(DIMS, CLASSES).double()
        torch.nn.init.zeros_(layer.weight), torch.nn.init.zeros_(layer.bias)
        optimizer = torch.optim.AdamW([dict(params=[layer.weight], weight_decay=point.weight_decay),
                                       dict(params=[layer.bias], weight_decay=0.0)], lr=point.lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4)
        for _ in range(4):
            optimizer.zero_grad()
            F.cross_entropy(layer(inputs), labels).backward()
            optimizer.step()
            schedule.step()
        torch.testing.assert_close(grid.probes.weight[number], layer.weight, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(grid.probes.bias[number], layer.bias, rtol=1e-9, atol=1e-12)


def test_attentive_probes__are_cross_attention_with_one_query():
    """Against torch's own attention, with keys projected: query and key projection multiply to the vectors of the heads."""
    torch.manual_seed(0)
    probes, heads = AttentiveProbes(1, DIMS, CLASSES).double(), 2
    attention = torch.nn.MultiheadAttention(DIMS, heads, bias=False, batch_first=True).double()
    query, tokens = torch.randn(DIMS).double(), some_inputs((TOKENS, DIMS))[0]
    w_query, w_key, w_value = attention.in_proj_weight.chunk(3)
    with torch.no_grad():
        size = DIMS // heads
        asked = (w_query @ query).unflatten(0, (heads, size))
        probes.query[0] = torch.einsum('hd,hdc->hc', asked, w_key.unflatten(0, (heads, size))) * (DIMS / size)**0.5
        probes.value[0] = w_value.unflatten(0, (heads, size))
        probes.out.weight[0] = attention.out_proj.weight
        torch.nn.init.normal_(probes.out.bias)
        tokens_normed = F.layer_norm(tokens, (DIMS,))
        x = attention(query.expand(len(tokens), 1, -1), tokens_normed, tokens_normed)[0].squeeze(1) + probes.out.bias[0]
        hidden = F.linear(F.layer_norm(x, (DIMS,)), probes.mlp[0].weight[0], probes.mlp[0].bias[0])
        x = x + F.linear(F.gelu(hidden), probes.mlp[2].weight[0], probes.mlp[2].bias[0])
        expected = F.linear(x, probes.fc.weight[0], probes.fc.bias[0])
        torch.testing.assert_close(probes(tokens)[0], expected)


def test_attentive_probes__do_not_see_where_a_token_is_nor_how_large():
    torch.manual_seed(0)
    probes, tokens = AttentiveProbes(2, DIMS, CLASSES).double(), some_inputs((TOKENS, DIMS))[0]
    torch.nn.init.normal_(probes.fc.weight)
    with torch.no_grad():
        expected = probes(tokens)
        assert not torch.allclose(expected[:, 0], expected[:, 1])
        torch.testing.assert_close(probes(tokens.flip(1)), expected)
        torch.testing.assert_close(probes(3 * tokens + 1), expected, rtol=1e-3, atol=1e-3)  # but for the norm's epsilon


@pytest.mark.parametrize('kind', KINDS)
def test_probe_grid__learns_what_can_be_told_apart(kind):
    make, shape = KINDS[kind]
    inputs, labels = some_inputs(shape, 360)
    where = (torch.arange(360), labels) if kind == 'linear' else (torch.arange(360), torch.arange(360) % TOKENS, labels)
    inputs[where] += 10  # of the tokens one tells the class, each time another
    grid = ProbeGrid(make, [Point(1e-2, 0.01), Point(1e-3, 0.1)], 0, CPU)
    grid.train(lambda items: inputs[:300][items], labels[:300], epochs=3, min_steps=60, batch_size=32)
    scores = grid.scores(lambda items: inputs[300:][items], 60)
    right = (scores.argmax(-1) == labels[300:]).double().mean(1)
    assert right.min() > 0.9, f'{right}, chance is a third'
