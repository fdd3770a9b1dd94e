from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from ssvideo.models.backbones.divided_transformer import DividedTransformer
from ssvideo.models.layers.divided_attention import from_lines, parse_layout, to_lines
from ssvideo.models.layers.positions import interpolate_positions
from ssvideo.structures import PAD

LAYOUTS = ['T,H|W', 'T,H,W', 'T|H|W', 'H|W,T', 'T,HW', 'THW']
GRID = (2, 3, 2)
VOCAB = 11


def tiny(**changes):
    config = {'grid': GRID, 'vocab_size': VOCAB, 'embed_dims': 12, 'num_layers': 2, 'num_heads': 6,
              'attention_dims': 24, 'mlp_dims': 16, **changes}
    torch.manual_seed(0)
    model = DividedTransformer(**config)
    with torch.no_grad():  # far from the initial law, so that no term is too small to be seen
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    return model.eval()


def clips():
    tokens = torch.randint(VOCAB, (3, *GRID), generator=torch.Generator().manual_seed(1))
    tokens[1, 1] = PAD  # a frame: every line of it in H and W is all PAD
    tokens[2, :, 2, 1] = PAD  # a time line
    return tokens


def cells(grid):
    return list(itertools.product(*map(range, grid)))


def slow_line(x, line, attention, branch, pad):
    """Attention of one line, written out: ``x`` maps a cell, or 'cls', to its vector."""
    branches, d = len(attention.branches), attention.head_dims
    heads = attention.out.in_features // d // branches
    members = ['cls', *line]
    weight = attention.qkv.weight.view(branches, 3, heads, d, -1)[branch]
    bias = attention.qkv.bias.view(branches, 3, heads, d)[branch]
    result = {}
    for member in members:
        per_head = []
        for head in range(heads):
            query, keys, values = weight[0, head] @ x[member] + bias[0, head], [], []
            for other in members:
                if other == 'cls' or not pad[other]:
                    keys.append(weight[1, head] @ x[other] + bias[1, head])
                    values.append(weight[2, head] @ x[other] + bias[2, head])
            scores = torch.stack([query @ key / math.sqrt(d) for key in keys]).softmax(0)
            per_head.append(sum(score * value for score, value in zip(scores, values)))
        result[member] = torch.cat(per_head)
    return result


def slow_attention(x, attention, grid, pad):
    """One attention block, line by line."""
    outputs = {member: [] for member in x}
    for branch, axes in enumerate(attention.branches):
        across = [dim for dim, axis in enumerate('THW') if axis not in axes]
        lines = {}
        for cell in cells(grid):
            lines.setdefault(tuple(cell[dim] for dim in across), []).append(cell)
        copies = []
        for line in lines.values():
            for member, value in slow_line(x, line, attention, branch, pad).items():
                (copies if member == 'cls' else outputs[member]).append(value)
        outputs['cls'].append(sum(copies) / len(copies))
    return {member: attention.out(torch.cat(parts)) for member, parts in outputs.items()}


def slow_forward(model, tokens, post):
    """One clip, vector by vector."""
    grid, p = model.grid, model.positions
    pad = {cell: bool(tokens[cell] == PAD) for cell in cells(grid)}
    x = {(t, i, j): model.token_embedding.weight[VOCAB + 1 if pad[t, i, j] else tokens[t, i, j]]
         + p.temporal[t] + p.height[i] + p.width[j] for t, i, j in cells(grid)}
    x = {'cls': model.cls_token + p.cls, **x}
    if post:
        x = {member: model.embedding_norm(vector) for member, vector in x.items()}

    def residual(x, block, body):
        if post:
            y = body(x)
            return {member: block.norm(x[member] + y[member]) for member in x}
        y = body({member: block.norm(vector) for member, vector in x.items()})
        return {member: x[member] + y[member] for member in x}

    for layer in model.layers:
        for block in layer.attentions:
            x = residual(x, block, lambda z, block=block: slow_attention(z, block.body, grid, pad))
        first, _, second = layer.mlp.body
        x = residual(x, layer.mlp, lambda z: {m: second(F.gelu(first(v))) for m, v in z.items()})  # noqa: B023
    if not post:
        x = {member: model.final_norm(vector) for member, vector in x.items()}
    return x.pop('cls'), torch.stack([x[cell] for cell in cells(grid)]).view(*grid, -1)


@pytest.mark.parametrize('norm', ['post', 'pre'])
@pytest.mark.parametrize('layout', LAYOUTS)
def test_divided_transformer__equals_plain_loops(layout, norm):
    model, tokens = tiny(layout=layout, norm=norm, num_layers=1), clips()
    with torch.no_grad():
        features = model(tokens)
        for clip in range(len(tokens)):
            cls, hidden = slow_forward(model, tokens[clip], post=norm == 'post')
            torch.testing.assert_close(features.summary[clip], cls, atol=2e-5, rtol=1e-5)
            torch.testing.assert_close(features.maps[0][clip], hidden, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize(('layers', 'width', 'heads', 'attention', 'mlp', 'layout', 'millions'), [
    (6, 512, 8, None, 2048, 'T,H|W', 29.44),  # Small
    (6, 768, 12, None, 3072, 'T,H|W', 63.04),
    (12, 512, 8, None, 2048, 'T,H|W', 54.67),
    (12, 768, 12, None, 3072, 'T,H|W', 119.75),  # Base
    (24, 1024, 16, 512, 2048, 'T,H|W', 210.11),  # Large-Half
    (6, 512, 8, None, None, 'T,H,W', 35.75),
    (6, 512, 8, None, None, 'THW', 23.13),
    (6, 512, 8, None, None, 'T,HW', 29.44),
])
def test_divided_transformer__number_of_parameters(layers, width, heads, attention, mlp, layout, millions):
    with torch.device('meta'):
        model = DividedTransformer(embed_dims=width, num_layers=layers, num_heads=heads, attention_dims=attention,
                                   mlp_dims=mlp, layout=layout)
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.01)


@pytest.mark.parametrize('axes', ['T', 'H', 'W', 'TH', 'TW', 'HW'])
def test_lines__there_and_back(axes):
    x = torch.randn(2, 1 + math.prod(GRID), 3, 5)
    lines = to_lines(x, GRID, axes)
    length = math.prod(size for size, axis in zip(GRID, 'THW') if axis in axes)
    assert lines.shape == (2 * math.prod(GRID) // length, 3, 1 + length, 5)
    cls, tokens = from_lines(lines, GRID, axes)
    torch.testing.assert_close(cls, x[:, :1])
    assert torch.equal(tokens.flatten(1, 3), x[:, 1:])


@pytest.mark.parametrize('layout', LAYOUTS)
def test_divided_transformer__clip_of_pad_alone_stays_finite(layout):
    model = tiny(layout=layout).train()
    features = model(torch.full((2, *GRID), PAD), torch.ones(2, *GRID, dtype=torch.bool))
    (features.summary.sum() + features.maps[0].square().sum()).backward()
    assert torch.isfinite(features.maps[0]).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


@pytest.mark.parametrize('norm', ['post', 'pre'])
@pytest.mark.parametrize('recomputed', [False, True])
def test_divided_transformer__computes_the_last_layer_for_some_positions_as_for_all(norm, recomputed):
    model, tokens = tiny(norm=norm, dropout=0.0, checkpoint_activations=recomputed).double().train(), clips()
    positions = torch.tensor([0, 3, 2 * math.prod(GRID) - 1])
    found = []
    for known in ({}, {'positions': positions}):
        features = model(tokens, tokens % 3 == 0, **known)
        assert features.maps[0].shape == (3, *GRID, 12) and features.summary.shape == (3, 12)
        rows = features.maps[0].flatten(0, 3)[positions]
        model.zero_grad()
        (rows.square().sum() + features.summary.square().sum()).backward()
        found.append([rows, features.summary, *(parameter.grad for parameter in model.parameters())])
    for expected, given in zip(*found):
        torch.testing.assert_close(given, expected, rtol=0, atol=1e-10)
    others = features.maps[0].flatten(0, 3)[[1, 2]]
    assert (others == 0).all()
    nothing = model(tokens, positions=positions[:0])
    torch.testing.assert_close(nothing.summary, model(tokens).summary)


def test_divided_transformer__pad_is_never_attended_to():
    """What stands in the [PAD] row changes nothing but the PAD positions themselves."""
    model, tokens = tiny(), clips()
    with torch.no_grad():
        before = model(tokens)
        model.token_embedding.weight[VOCAB + 1] += torch.linspace(-100, 100, 12)
        after = model(tokens)
    torch.testing.assert_close(before.summary[0], after.summary[0])
    seen = tokens != PAD
    torch.testing.assert_close(before.maps[0][seen], after.maps[0][seen])
    assert not torch.allclose(before.maps[0][~seen], after.maps[0][~seen])


def test_divided_transformer__hides_tokens_in_its_special_rows():
    model, tokens = tiny(), clips()
    mask = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(2)) < 0.5
    assert bool((mask & (tokens == PAD)).any())
    rows = model.hide(tokens, mask)
    expected = [VOCAB + 1 if token == PAD else VOCAB + 4 if hidden else token
                for token, hidden in zip(tokens.flatten().tolist(), mask.flatten().tolist())]
    assert rows.flatten().tolist() == expected
    assert torch.equal(model.hide(tokens, mask.to(torch.int8)), rows)
    assert DividedTransformer(embed_dims=8, num_layers=0, num_heads=2).token_embedding.num_embeddings == 8197


def test_divided_transformer__noisy_mask_kinds():
    model = tiny(grid=(4, 20, 20))
    tokens = torch.full((2, 4, 20, 20), 7)
    tokens[:, 3] = PAD
    mask = torch.zeros(tokens.shape, dtype=torch.int8)
    mask[:, :, 5:10], mask[:, :, 10:15], mask[:, :, 15:] = 1, 2, 3
    rows = model.hide(tokens, mask)
    assert (rows[:, 3] == VOCAB + 1).all()
    rows = rows[:, :3]
    assert (rows[:, :, :5] == 7).all()
    assert (rows[:, :, 5:10] == VOCAB + 4).all()
    assert (rows[:, :, 15:] == 7).all()
    counts = torch.bincount(rows[:, :, 10:15].flatten(), minlength=VOCAB)
    assert len(counts) == VOCAB  # no special rows
    expected = counts.sum() / VOCAB
    assert ((counts - expected).square() / expected).sum() < 30  # chi square with 10 degrees of freedom: p < 0.001


def test_divided_transformer__masked_forward_hides_the_token():
    model, tokens = tiny(), clips()
    mask = torch.zeros(tokens.shape, dtype=torch.bool)
    mask[0, 0, 1, 1] = True
    other = tokens.clone()
    other[0, 0, 1, 1] = (tokens[0, 0, 1, 1] + 1) % VOCAB
    assert torch.equal(model(tokens, mask).maps[0], model(other, mask).maps[0])
    assert not torch.equal(model(tokens).maps[0], model(other).maps[0])


def test_divided_transformer__wrong_inputs_say_what_is_wrong():
    model = tiny()
    with pytest.raises(ValueError, match=r'grid=\(2, 3, 2\).*\(2, 2, 2\)'):
        model(torch.zeros(1, 2, 2, 2, dtype=torch.long))
    with pytest.raises(ValueError, match='float32'):
        model(torch.zeros(1, 3, 2, 24, 16))
    with pytest.raises(ValueError, match='mask'):
        model(clips(), torch.zeros(1, *GRID, dtype=torch.bool))


@pytest.mark.parametrize(('changes', 'message'), [
    ({'layout': 'T,WH'}, 'not a line'), ({'layout': 'T,,H'}, 'not a line'), ({'layout': 'T,D'}, 'not a line'),
    ({'layout': 'T|H|W', 'num_heads': 4}, '3 branches'), ({'attention_dims': 25}, 'attention_dims=25'),
    ({'norm': 'both'}, "'both'"), ({'grid': (5, 16)}, 'grid'),
])
def test_divided_transformer__wrong_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny(**changes)


def test_layout__blocks_and_branches():
    assert parse_layout('T,H|W') == [['T'], ['H', 'W']]
    assert parse_layout('THW') == [['THW']]


def test_divided_transformer__checkpointing_changes_no_gradient():
    gradients = []
    for checkpoint_activations in (False, True):
        model = tiny(checkpoint_activations=checkpoint_activations, dropout=0.3).train()
        torch.manual_seed(3)
        features = model(clips())
        (features.summary.sum() + features.maps[0].square().sum()).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, recomputed in zip(*gradients):
        torch.testing.assert_close(plain, recomputed)


@pytest.mark.parametrize('layout', ['T,H|W', 'THW'])
def test_divided_transformer__compiles_whole(layout):
    model, tokens = tiny(layout=layout), clips()
    mask = torch.zeros(tokens.shape, dtype=torch.bool)
    mask[:, 0] = True
    compiled = torch.compile(model, fullgraph=True, dynamic=False, backend='eager')
    ours, expected = compiled(tokens, mask), model(tokens, mask)
    torch.testing.assert_close(ours.summary, expected.summary)
    torch.testing.assert_close(ours.maps[0], expected.maps[0])
    ours.summary.sum().backward()
    assert model.layers[0].attentions[0].body.qkv.weight.grad is not None


def test_divided_transformer__initial_law():
    model = DividedTransformer(grid=(5, 16, 16), vocab_size=2000, embed_dims=256, num_layers=3, num_heads=4, norm='pre')
    smaller = 0.02 / math.sqrt(3 * 3)  # two attention blocks and an MLP in each of three layers
    for layer in model.layers:
        for attention in layer.attentions:
            assert attention.body.qkv.weight.std().item() == pytest.approx(0.02, rel=0.02)
            assert attention.body.out.weight.std().item() == pytest.approx(smaller, rel=0.02)
        assert layer.mlp.body[0].weight.std().item() == pytest.approx(0.02, rel=0.02)
        assert layer.mlp.body[2].weight.std().item() == pytest.approx(smaller, rel=0.02)
        assert not layer.mlp.body[2].bias.any()
    assert model.token_embedding.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert model.positions.height.std().item() == pytest.approx(0.02 / math.sqrt(3), rel=0.05)
    post = DividedTransformer(vocab_size=10, embed_dims=256, num_layers=1, num_heads=4)
    assert post.layers[0].mlp.body[2].weight.std().item() == pytest.approx(0.02, rel=0.02)


def test_divided_transformer__adapts_to_a_larger_grid():
    small, large = tiny(grid=(2, 3, 2)), tiny(grid=(4, 6, 2))
    weights = small.state_dict()
    adapted, lines = large.adapt(weights)
    large.load_state_dict(adapted, strict=True)
    assert lines == ['positions.temporal: interpolated from 2 to 4 positions',
                     'positions.height: interpolated from 3 to 6 positions']
    assert weights['positions.height'].shape[0] == 3  # the caller's weights are left alone
    old = weights['positions.height']
    for row in range(6):  # align_corners False: the centre of new row r lies at (r + 0.5) / 2 - 0.5
        place = min(max((row + 0.5) / 2 - 0.5, 0), 2)
        low, share = math.floor(place), place - math.floor(place)
        expected = old[low] * (1 - share) + old[min(low + 1, 2)] * share
        torch.testing.assert_close(large.positions.height[row], expected)
    assert torch.equal(large.positions.width, weights['positions.width'])
    assert small.adapt(weights)[1] == []


def test_interpolate_positions__keeps_type_and_constant():
    table = torch.full((3, 4), 2.0, dtype=torch.bfloat16)
    stretched = interpolate_positions(table, 7)
    assert stretched.dtype == torch.bfloat16
    assert torch.equal(stretched, torch.full((7, 4), 2.0, dtype=torch.bfloat16))
