from __future__ import annotations

import numpy as np
import pytest
import torch

from ssvideo.structures import PAD
from ssvideo.visualization import colour_ids, draw_scatter, heat, pca_colours, spread_cells


def test_spread_cells__each_pixel_has_the_value_of_its_cell():
    cells = np.arange(2 * 3 * 2).reshape(2, 3, 2)
    spread = spread_cells(cells, (4, 9, 5))
    for t, y, x in np.ndindex(4, 9, 5):
        assert spread[t, y, x] == cells[t // 2, y // 3, x * 2 // 5]


def test_colour_ids__every_id_has_its_own_colour_and_pad_is_black():
    tokens = np.append(np.arange(63), PAD).reshape(1, 8, 8)
    colours = colour_ids(tokens, 63).reshape(-1, 3)
    assert len(np.unique(colours, axis=0)) == 64 and (colours[-1] == 0).all()
    assert np.array_equal(colour_ids(tokens[:, ::-1], 63).reshape(8, 8, 3), colours.reshape(8, 8, 3)[::-1])
    with pytest.raises(ValueError, match='got ids from -1 to 62, expected -1'):
        colour_ids(tokens, 62)


def test_heat__is_brightest_where_the_weight_is_largest_and_keeps_to_cells():
    weights = np.zeros((2, 2, 2), np.float32)
    weights[1, 0, 1] = 0.02  # the largest, however small
    shown = heat(np.full((2, 8, 8, 3), 128, np.uint8), weights).astype(int)
    hot = shown[1, :4, 4:]
    assert (hot == hot[0, 0]).all() and hot[0, 0].sum() > 300
    cold = shown.copy()
    cold[1, :4, 4:] = shown[0, 0, 0]
    assert (cold == shown[0, 0, 0]).all() and shown[0, 0, 0].sum() < 150
    assert (heat(np.zeros((1, 4, 4, 3), np.uint8), np.zeros((1, 2, 2))) >= 0).all()  # nothing but zeros


def test_pca_colours__follow_the_strongest_directions():
    rng = torch.Generator().manual_seed(0)
    directions = torch.linalg.qr(torch.randn(16, 16, generator=rng))[0][:3]
    strengths = torch.tensor([9.0, 3.0, 1.0])
    scores = [torch.randn(2, 6, 6, 3, generator=rng) * strengths for _ in range(2)]
    maps = [score @ directions + 5 + 0.01 * torch.randn(2, 6, 6, 16, generator=rng) for score in scores]
    colours, shares = pca_colours(maps)
    assert [part.shape for part in colours] == [(2, 6, 6, 3)] * 2 and sum(shares) == pytest.approx(1, abs=1e-3)
    assert shares == sorted(shares, reverse=True)
    known, found = torch.cat([score.flatten(0, 2) for score in scores]), np.concatenate([part.reshape(-1, 3) for part in colours])
    for channel in range(3):
        middle = (found[:, channel] > 0) & (found[:, channel] < 255)  # of what the percentiles leave
        assert abs(np.corrcoef(known[middle, channel], found[middle, channel])[0, 1]) > 0.95


def test_pca_colours__nothing_to_colour_is_refused():
    with pytest.raises(ValueError, match='the same features'):
        pca_colours([torch.ones(1, 2, 2, 4)])
    with pytest.raises(ValueError, match='got 2 channels, expected 3'):
        pca_colours([torch.rand(1, 2, 2, 2)])


def test_draw_scatter__labels_must_fit_the_points(tmp_path):
    points = np.random.default_rng(0).random((6, 2))
    labelled = draw_scatter(points, [0, 0, 1, 1, 2, 2], tmp_path / 'a.png', 'Title', ['left', 'right']).read_bytes()
    assert labelled != draw_scatter(points, None, tmp_path / 'b.png', 'Title').read_bytes()
    with pytest.raises(ValueError, match='6 points need as many labels, got 2'):
        draw_scatter(points, [0, 1], tmp_path / 'c.png')
    with pytest.raises(ValueError, match=r'expected \(M, 2\)'):
        draw_scatter(np.zeros((0, 2)), None, tmp_path / 'c.png')
