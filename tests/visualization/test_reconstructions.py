from __future__ import annotations

import numpy as np
import pytest
from matplotlib.image import imread

from ssvideo.visualization import draw_reconstructions


def colours_of(path) -> set[tuple]:
    pixels = (imread(path)[..., :3] * 255).round().astype(int).reshape(-1, 3)
    found, counts = np.unique(pixels, axis=0, return_counts=True)
    return {tuple(colour) for colour, count in zip(found.tolist(), counts) if count > 4000}


def test_draw_reconstructions__every_row_shows_the_same_moments(tmp_path):
    frames = np.zeros((20, 8, 8, 3), np.uint8)
    frames[..., 0] = 5 + np.arange(20)[:, None, None] * 10
    other = np.zeros((20, 16, 16, 3), np.uint8)  # of another size
    other[..., 1] = 5 + np.arange(20)[:, None, None] * 10
    path = draw_reconstructions({'original': frames, 'predicted': other}, tmp_path / 'rows.png', num_columns=3)
    shown = colours_of(path) - {(255, 255, 255)}
    # moments 0, 10 (9.5 rounds to even) and 19 of 20
    assert shown == {(5, 0, 0), (105, 0, 0), (195, 0, 0), (0, 5, 0), (0, 105, 0), (0, 195, 0)}


def test_draw_reconstructions__one_frame_and_no_title(tmp_path):
    frame = np.full((1, 8, 8, 3), 40, np.uint8)
    assert (40, 40, 40) in colours_of(draw_reconstructions({'image': frame}, tmp_path / 'one.png'))


def test_draw_reconstructions__failed_write_keeps_the_old_picture(tmp_path, monkeypatch):
    frame = np.full((1, 8, 8, 3), 40, np.uint8)
    path = draw_reconstructions({'image': frame}, tmp_path / 'one.png')
    before = path.read_bytes()
    monkeypatch.setattr('matplotlib.figure.Figure.savefig', lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        draw_reconstructions({'image': frame // 2}, path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize('rows, message', [
    ({}, 'rows is empty'), ({'a': np.zeros((2, 8, 8, 3))}, "rows\\['a'\\]: got float64"),
    ({'a': np.zeros((2, 3, 8, 8), np.uint8)}, 'expected uint8 RGB frames'),
    ({'a': np.zeros((2, 8, 8, 3), np.uint8), 'b': np.zeros((1, 8, 8, 3), np.uint8)}, 'differ in frames')])
def test_draw_reconstructions__what_cannot_be_drawn_is_refused(rows, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        draw_reconstructions(rows, tmp_path / 'x.png')
