from __future__ import annotations

import av
import numpy as np
import pytest
from matplotlib.image import imread
from PIL import Image

from ssvideo.visualization import save_panels, save_strips, suffix_of, write_animation


def colour(red: int, num_frames: int = 5, side: int = 8) -> np.ndarray:
    """Frames of one colour each: (red, 40 * number, 0)."""
    frames = np.zeros((num_frames, side, side, 3), np.uint8)
    frames[..., 0], frames[..., 1] = red, np.arange(num_frames)[:, None, None] * 40
    return frames


def test_write_animation__mp4_has_every_picture_in_order_at_its_rate(tmp_path):
    pictures = colour(200, side=33)  # an odd side
    path = write_animation(list(pictures), tmp_path / 'deep' / 'clip.mp4', fps=4)
    assert [file.name for file in path.parent.iterdir()] == ['clip.mp4']
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.average_rate, stream.width, stream.height) == (4, 34, 34)
        found = [frame.to_ndarray(format='rgb24')[:33, :33] for frame in container.decode(video=0)]
    assert len(found) == 5
    for picture, expected in zip(found, pictures):
        assert np.abs(picture.astype(int) - expected).max() < 12  # H.264 is lossy


def test_write_animation__gif_has_every_picture(tmp_path):
    path = write_animation(list(colour(200)), tmp_path / 'clip.gif', fps=5)
    with Image.open(path) as found:
        assert (found.n_frames, found.info['duration'], found.info['loop']) == (5, 200, 0)


@pytest.mark.parametrize(('name', 'fps', 'message'), [
    ('clip.avi', 4, r"suffix '\.avi', expected \.gif or \.mp4"), ('clip.mp4', 0, 'fps: got 0'), ('clip.gif', 51, 'fps: got 51')])
def test_write_animation__what_cannot_be_written_is_refused(name, fps, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_animation(list(colour(1)), tmp_path / name, fps)
    assert not list(tmp_path.iterdir())


def test_suffix_of__names_what_is_allowed():
    assert suffix_of('a/B.PNG') == '.png'
    with pytest.raises(ValueError, match=r"suffix '', expected \.png or \.gif or \.mp4"):
        suffix_of('picture')


def colours_of(path) -> set[tuple]:
    pixels = (imread(path)[..., :3] * 255).round().astype(int).reshape(-1, 3)
    found, counts = np.unique(pixels, axis=0, return_counts=True)
    return {tuple(one) for one, count in zip(found.tolist(), counts) if count > 4000} - {(255, 255, 255)}


def test_save_strips__picture_shows_moments_of_every_clip(tmp_path):
    table = {'a': [('same', colour(10)), ('other', colour(20))], 'b': [('same', colour(30))]}
    shown = colours_of(save_strips(table, tmp_path / 'strips.png', 4, 'Title', num_columns=3))
    assert shown == {(red, green, 0) for red in (10, 20, 30) for green in (0, 80, 160)}


def test_save_panels__picture_shows_the_middle_of_every_clip(tmp_path):
    table = {'a': [('same', colour(10)), ('other', colour(20))], 'b': [('same', colour(30))]}
    assert colours_of(save_panels(table, tmp_path / 'panels.png', 4)) == {(10, 80, 0), (20, 80, 0), (30, 80, 0)}


@pytest.mark.parametrize('save', [save_panels, save_strips])
def test_save__animations_play_all_frames(save, tmp_path):
    with Image.open(save({'a': [('one', colour(10))]}, tmp_path / 'x.gif', 4)) as found:
        assert found.n_frames == 5
    with av.open(str(save({'a': [('one', colour(10))]}, tmp_path / 'x.mp4', 4))) as found:
        assert len(list(found.decode(video=0))) == 5
