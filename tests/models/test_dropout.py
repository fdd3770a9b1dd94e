"""Dropout with few draws: the law of torch's."""
from __future__ import annotations

import pytest
import torch

from ssvideo.models.layers.dropout import Dropout


@pytest.mark.parametrize('p', [0.1, 0.5, 0.9])
def test_dropout__has_the_share_and_the_mean_of_torchs(p):
    torch.manual_seed(0)
    x = torch.ones(1000, 1003)
    dropped = Dropout(p)(x)
    share = (dropped == 0).float().mean()
    deviation = (p * (1 - p) / x.numel()) ** 0.5
    assert abs(share - p) < 5 * deviation + 2**-17
    assert dropped[dropped != 0].unique().tolist() == pytest.approx([1 / (1 - p)], rel=1e-4)
    assert abs(dropped.mean() - 1) < 5 * deviation / (1 - p)


def test_dropout__decides_on_each_element_by_itself():
    """Neighbours, which share a draw, are no more alike than others are."""
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(2**20)) != 0).float().view(-1, 4)
    correlations = torch.corrcoef(kept.t()) - torch.eye(4)
    assert correlations.abs().max() < 0.01
    assert abs(torch.corrcoef(torch.stack([kept[:-1, 3], kept[1:, 0]]))[0, 1]) < 0.01


def test_dropout__gradients_pass_where_values_do_and_the_seed_decides():
    x = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    layer, results = Dropout(0.3), []
    for _ in range(2):
        torch.manual_seed(1)
        results.append(layer(x))
    assert torch.equal(*results)
    results[0].sum().backward()
    scale = 65536 / (65536 - round(0.3 * 65536))
    torch.testing.assert_close(x.grad, (results[0] != 0).double() * scale)
    torch.testing.assert_close(results[0], x * x.grad)


def test_dropout__does_nothing_in_eval_mode_and_takes_the_ends_of_p():
    x = torch.randn(3, 4)
    assert Dropout(0.5).eval()(x) is x or torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x) and (Dropout(1.0)(x) == 0).all()
    assert Dropout(0.5)(x.bfloat16()).dtype == torch.bfloat16 and Dropout(0.5)(x[:0]).shape == (0, 4)
