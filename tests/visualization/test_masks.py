from __future__ import annotations

import numpy as np
import pytest
from matplotlib.image import imread

from ssvideo.visualization import draw_masks
from ssvideo.visualization.masks import EDGE, KEPT, RANDOM, SHADE, shade


def test_shade__each_pixel_follows_the_token_at_its_place():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (8, 12, 9, 3), dtype=np.uint8)
    mask = rng.random((4, 3, 3)) < 0.5
    shaded = shade(frames, mask)
    for t, y, x in np.ndindex(8, 12, 9):
        hidden = mask[t // 2, y // 4, x // 3]  # frames are doubled, tokens are 4 x 3 pixels: too narrow for edges
        assert np.array_equal(shaded[t, y, x], SHADE if hidden else frames[t, y, x])


def test_shade__nothing_of_a_hidden_pixel_shines_through():
    rng = np.random.default_rng(0)
    mask = rng.random((2, 4, 4)) < 0.5
    frames = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    pixels = np.kron(mask, np.ones((1, 8, 8), bool))
    others = np.where(pixels[..., None], 255 - frames, frames)
    assert (others != frames).any() and np.array_equal(shade(frames, mask), shade(others, mask))
    assert {tuple(colour) for colour in shade(frames, mask)[pixels].tolist()} <= {tuple(SHADE), tuple(EDGE)}


def test_shade__edges_part_hidden_tokens_and_leave_seen_ones_alone():
    frames = np.full((1, 16, 16, 3), 10, np.uint8)
    mask = np.array([[[True, True], [False, True]]])
    shaded = shade(frames, mask)
    assert (shaded[0, 0, 8] == EDGE).all() and not (shaded[0, 0, 7] == EDGE).all()
    assert (shaded[0, 8:, :8] == 10).all()


def test_draw_masks__picture_shows_frames_above_and_shaded_frames_beneath(tmp_path):
    frames = np.zeros((4, 16, 16, 3), np.uint8)
    frames[..., 0] = 255  # red
    mask = np.zeros((2, 4, 4), bool)
    mask[1] = True
    path = draw_masks(frames, mask, tmp_path / 'deep' / 'masks.png', 'A clip')
    assert [file.name for file in path.parent.iterdir()] == ['masks.png']
    picture = imread(path)[..., :3]
    red = (picture == (1, 0, 0)).all(-1)
    quarters = [part.sum() for half in np.array_split(red, 2) for part in np.array_split(half, 2, 1)]
    assert min(quarters[:3]) > 1000 and quarters[3] < 0.5 * quarters[2]  # below, the last two frames are hidden


@pytest.mark.parametrize('mask', [np.zeros((2, 4, 4)), np.zeros((4, 4), bool), np.zeros((2, 32, 4), bool)])
def test_draw_masks__other_masks_are_refused(mask, tmp_path):
    with pytest.raises(ValueError, match=r'mask: got .* expected bool \(t, h, w\)'):
        draw_masks(np.zeros((4, 16, 16, 3), np.uint8), mask, tmp_path / 'x.png')
    assert not list(tmp_path.iterdir())


def test_shade__kinds_of_noisy_masking_are_told_apart():
    frames = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    kinds = np.array([[[0, 1], [2, 3]]], np.int8)
    shaded = shade(frames, kinds)
    assert np.array_equal(shaded[:, :4, :4], frames[:, :4, :4])
    assert (shaded[:, :4, 4:] == SHADE).all() and (shaded[:, 4:, :4] == RANDOM).all()
    assert np.array_equal(shaded[:, 4:, 4:], (frames[:, 4:, 4:].astype(int) + KEPT) // 2)
