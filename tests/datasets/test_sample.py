from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ssvideo.datasets.transforms import SampleClips, SampleWholeVideo


def video(times, tick=0.0) -> dict:
    times = np.asarray(times, float)
    step = np.median(np.diff(times)) if len(times) > 1 else 0.04
    return {'video': SimpleNamespace(times=times, num_frames=len(times), duration=times[-1] + step, tick=tick)}


def clips(transform, times, draws=1) -> np.ndarray:
    """(draws, num_clips, clip_len) frame numbers."""
    np.random.seed(0)
    found = [transform(video(times)) for _ in range(draws)]
    return np.stack([f['frame_inds'].reshape(f['num_clips'], f['clip_len']) for f in found])


def test_sample_clips__intervals_start_anywhere_that_fits():
    found = clips(SampleClips(4, frame_interval=3), np.arange(12) / 25, 300)
    assert set(map(tuple, found[:, 0])) == {(s, s + 3, s + 6, s + 9) for s in range(3)}


def test_sample_clips__views_are_independent_and_uniform():
    found = clips(SampleClips(2, frame_interval=1, num_clips=2), np.arange(11) / 25, 4000)[:, :, 0]
    counts = np.bincount(found[:, 0] * 10 + found[:, 1], minlength=100)
    assert len(counts) == 100
    assert ((counts - 40) ** 2 / 40).sum() < 150  # chi-square with 99 degrees of freedom, p = 0.0007


@pytest.mark.parametrize('spacing', [{'frame_interval': 5}, {'fps': 5}])
def test_sample_clips__max_distance_keeps_views_together(spacing):
    times = np.arange(500) / 25
    starts = times[clips(SampleClips(3, num_clips=3, max_distance=2.0, **spacing), times, 300)[:, :, 0]]
    distance = np.abs(starts[:, 1:] - starts[:, :1])
    assert 1.8 < distance.max() <= 2.0 + 0.05
    assert starts[:, 0].max() > 17


def test_sample_clips__frames_by_time_stamp_where_the_rate_varies():
    times = np.cumsum([0, *[0.04] * 50, *[0.5] * 10, *[0.01] * 100])
    for (found,) in clips(SampleClips(5, fps=2), times, 100):
        at = times[found]
        following = np.append(times, np.inf)[found + 1]
        grid = at.max() + np.arange(-4, 1) * 0.5
        low, high = (at - grid).max(), (following - grid).min()  # some start puts every frame on the screen at its time
        assert low < high


def test_sample_clips__rate_of_the_file_gives_each_frame():
    times = np.arange(50) * (1001 / 30000)
    (found,), = clips(SampleClips(50, fps=30000 / 1001), times)
    assert found.tolist() == list(range(50))


@pytest.mark.parametrize('spacing', [{'frame_interval': 2}, {'fps': 12.5}])
def test_sample_clips__short_videos_loop_or_stay(spacing):
    times = np.arange(5) / 25
    assert clips(SampleClips(6, out_of_bound='loop', **spacing), times)[0, 0].tolist() == [0, 2, 4, 1, 3, 0]
    assert clips(SampleClips(6, out_of_bound='repeat_last', **spacing), times)[0, 0].tolist() == [0, 2, 4, 4, 4, 4]
    assert clips(SampleClips(3, **spacing), [0.0])[0, 0].tolist() == [0, 0, 0]


def test_sample_clips__testing_is_even_and_repeatable():
    transform = SampleClips(4, frame_interval=2, num_clips=4, test_mode=True)
    found = clips(transform, np.arange(46) / 25, 3)
    assert found[0, :, 0].tolist() == [5, 15, 25, 35]  # 40 starts, the middle of each ten
    assert np.array_equal(found[0], found[2])
    by_time = clips(SampleClips(4, fps=12.5, num_clips=4, test_mode=True), np.arange(47) / 25)
    assert by_time[0, :, 0].tolist() == [5, 15, 25, 35]


def test_sample_clips__segments_take_one_frame_of_each():
    found = clips(SampleClips(8, strategy='segments', num_clips=2), np.arange(80) / 25, 500)
    assert all(set(found[:, :, k].ravel()) == set(range(10 * k, 10 * k + 10)) for k in range(8))
    middle = clips(SampleClips(8, strategy='segments', test_mode=True), np.arange(80) / 25)
    assert middle[0, 0].tolist() == [5, 15, 25, 35, 45, 55, 65, 75]
    assert clips(SampleClips(8, strategy='segments', test_mode=True), np.arange(4))[0, 0].tolist() == [
        0, 0, 1, 1, 2, 2, 3, 3]


def test_sample_whole_video__stamps_rounded_to_the_containers_tick_give_each_frame():
    stamps = np.round(np.arange(40) / 16, 3)  # as in Matroska
    found = SampleWholeVideo(fps=16)(video(stamps, tick=0.001))['frame_inds']
    np.testing.assert_array_equal(found, np.arange(40))


def test_sample_whole_video__spans_it():
    found = SampleWholeVideo(fps=2)(video(np.arange(100) / 25))
    assert found['frame_inds'].tolist() == [0, 12, 25, 37, 50, 62, 75, 87]
    assert found['frame_times'].tolist() == pytest.approx([0, 0.48, 1, 1.48, 2, 2.48, 3, 3.48])
    assert (found['clip_len'], found['num_clips']) == (8, 1)
    assert SampleWholeVideo(frame_interval=30)(video(np.arange(100) / 25))['frame_inds'].tolist() == [0, 30, 60, 90]
    assert SampleWholeVideo(fps=2)(video([0.0]))['frame_inds'].tolist() == [0]


@pytest.mark.parametrize('arguments', [
    {}, {'frame_interval': 2, 'fps': 2.0}, {'frame_interval': 0}, {'fps': -1}, {'frame_interval': 1.5},
    {'strategy': 'segments', 'fps': 2}, {'fps': 2, 'strategy': 'uniform'}, {'fps': 2, 'out_of_bound': 'x'},
    {'fps': 2, 'num_clips': 0}, {'fps': 2, 'max_distance': -1.0}, {'fps': 2, 'max_distance': 1.0, 'test_mode': True}])
def test_sample_clips__refuses_what_makes_no_sense(arguments):
    with pytest.raises(ValueError, match='got|takes neither|must not'):
        SampleClips(4, **arguments)
