from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from ssvideo.datasets.broken import BrokenFileError
from ssvideo.datasets.given_videos import middle_clip
from ssvideo.datasets.transforms import FixedView
from ssvideo.datasets.video_windows import Window, WindowedVideos, read_whole, read_windows
from tests.video_files import sequential_decode, write_video


def shown(path, seconds: np.ndarray, size: int = 32) -> torch.Tensor:
    """The frames that a player shows at some times, by decoding all of them."""
    times, frames = sequential_decode(path)
    wanted = [frames[np.searchsorted(times, second + 1e-6, 'right') - 1] for second in seconds.ravel()]
    images = FixedView(size)(dict(imgs=wanted, filename=str(path)))['imgs']
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).unflatten(0, seconds.shape)


@pytest.mark.parametrize(('duration', 'stride', 'starts'), [
    (10.0, None, [0, 2, 4, 6, 8]), (9.0, None, [0, 2, 4, 6, 7]), (2.0, None, [0]), (0.5, None, [0]),
    (4.0, 0.8, [0, 0.8, 1.6, 2.0]), (9.0, 5.0, [0, 5.0, 7.0])])
def test_window__all_of_a_video_lies_in_some_window(duration, stride, starts):
    assert Window(16, 8, 32, stride).starts(duration) == pytest.approx(starts)


def test_window__nothing_is_zero():
    with pytest.raises(ValueError, match='must be positive'):
        Window(16, 8, 32, stride=0)


def test_read_windows__are_the_frames_of_their_times(tmp_path):
    path = write_video(tmp_path / 'long.mp4', num_frames=130, rate=25)  # 5.2 s
    window, found = Window(8, 5, 32), []
    for starts, frames in read_windows(path, window, batch_size=2):
        assert len(starts) <= 2
        found.append((starts, frames))
    starts, frames = np.concatenate([some for some, _ in found]), torch.cat([some for _, some in found])
    assert starts == pytest.approx([0, 1.6, 3.2, 3.6])
    assert torch.equal(frames.transpose(1, 2), shown(path, starts[:, None] + np.arange(8) / 5))


def test_read_windows__a_short_video_begins_again_as_the_middle_clip_does(tmp_path):
    path = write_video(tmp_path / 'short.mp4', num_frames=10, rate=25)
    [(starts, frames)] = read_windows(path, Window(16, 8, 32))
    assert starts.tolist() == [0]
    assert torch.equal(frames[0], middle_clip(str(path), 16, 8, 32))


def test_read_whole__is_every_frame_once_whatever_the_parts(tmp_path, monkeypatch):
    path = write_video(tmp_path / 'video.mp4', num_frames=50, rate=25)
    whole = torch.cat(list(read_whole(path, 10, 32)), dim=1)
    assert torch.equal(whole.transpose(0, 1), shown(path, np.arange(20) / 10))
    monkeypatch.setattr('ssvideo.datasets.video_windows.FRAMES_AT_ONCE', 8)
    parts = list(read_whole(path, 10, 32, multiple=3))
    assert [part.shape[1] for part in parts] == [8, 8, 2]
    assert torch.equal(torch.cat(parts, dim=1), whole[:, :18])


@pytest.mark.parametrize('workers', [0, 2])
def test_windowed_videos__what_cannot_be_read_has_a_reason(tmp_path, workers):
    paths = [str(write_video(tmp_path / f'{i}.mp4', num_frames=20 + 40 * i)) for i in range(2)]
    (tmp_path / 'broken.mp4').write_bytes(b'no video')
    paths.insert(1, str(tmp_path / 'broken.mp4'))
    found = list(DataLoader(WindowedVideos(paths, Window(8, 10, 32), batch_size=2), batch_size=None, num_workers=workers))
    by_video = {number: [some for some in found if some.video == number] for number in range(3)}
    assert [some.last for some in by_video[0]] == [True]
    assert [len(some.starts) for some in by_video[2]] == [2, 1], '2.4 s in windows of 0.8 s, two at a time'
    assert [some.last for some in by_video[2]] == [False, True]
    [broken] = by_video[1]
    assert broken.last and broken.reason
    with pytest.raises(BrokenFileError):
        next(read_windows(paths[1], Window(8, 10, 32)))
