from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from PIL import Image, ImageSequence

from ssvideo.visualization import animate_panels, animate_rows, draw_panels, to_frames


def clip(red: int, num_frames: int = 4) -> np.ndarray:
    """Frames of one colour each: (red, 50 * number, 0)."""
    frames = np.zeros((num_frames, 8, 8, 3), np.uint8)
    frames[..., 0] = red
    frames[..., 1] = np.arange(num_frames)[:, None, None] * 50
    return frames


def colours_of(picture: np.ndarray) -> set[tuple]:
    found, counts = np.unique(picture.reshape(-1, 3), axis=0, return_counts=True)
    return {tuple(colour) for colour, count in zip(found.tolist(), counts) if count > 10000} - {(255, 255, 255)}


def test_draw_panels__shows_one_moment_of_every_clip(tmp_path):
    table = {'first\nrow': [('a', clip(10)), ('same caption\nin two lines', clip(20)), ('a', clip(30))], '': [('b', clip(40))]}
    path = draw_panels(table, tmp_path / 'panels.png', 2, 'Title')
    assert [file.name for file in tmp_path.iterdir()] == ['panels.png']
    shown = colours_of((imread(path)[..., :3] * 255).round().astype(int))
    assert shown == {(10, 100, 0), (20, 100, 0), (30, 100, 0), (40, 100, 0)}


def test_animate_rows__plays_every_frame_of_every_row(tmp_path):
    path = animate_rows({'frames': clip(10), 'model': clip(200)}, tmp_path / 'deep' / 'rows.gif', fps=4, title='A clip')
    with Image.open(path) as animation:
        assert animation.format == 'GIF' and animation.n_frames == 4 and animation.info['duration'] == 250
        assert animation.info['loop'] == 0
        for number, picture in enumerate(ImageSequence.Iterator(animation)):
            assert colours_of(np.asarray(picture.convert('RGB'))) == {(10, 50 * number, 0), (200, 50 * number, 0)}


def test_animate_panels__failed_write_keeps_the_old_animation(tmp_path, monkeypatch):
    path = animate_panels({'': [('a', clip(10))]}, tmp_path / 'one.gif', fps=2)
    before = path.read_bytes()
    monkeypatch.setattr('PIL.Image.Image.save', lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        animate_panels({'': [('a', clip(20))]}, path, fps=2)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(('table', 'fps', 'message'), [
    ({}, 2, 'rows is empty'), ({'row': [('a', np.zeros((2, 8, 8, 3)))]}, 2, r"rows\['row\[0\] a'\]: got float64"),
    ({'': [('a', clip(1)), ('b', clip(1, 3))]}, 2, 'differ in frames'), ({'': [('a', clip(1))]}, 60, 'fps: got 60')])
def test_animate_panels__what_cannot_be_played_is_refused(table, fps, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        animate_panels(table, tmp_path / 'x.gif', fps)
    assert not list(tmp_path.iterdir())


def test_draw_panels__a_moment_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match='moment: got 4, expected 0 to 3'):
        draw_panels({'': [('a', clip(1))]}, tmp_path / 'x.png', 4)


def test_to_frames__takes_bytes_and_shares():
    pixels = torch.randint(256, (3, 2, 4, 5), dtype=torch.uint8)
    assert np.array_equal(to_frames(pixels), pixels.permute(1, 2, 3, 0).numpy())
    assert np.array_equal(to_frames(pixels / 255), to_frames(pixels))
    assert to_frames(torch.tensor([-1.0, 0.5, 2.0]).view(3, 1, 1, 1)).ravel().tolist() == [0, 128, 255]
