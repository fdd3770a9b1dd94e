from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from ssvideo.datasets import synthetic_motion as motion
from ssvideo.datasets.synthetic_motion import CLASSES, MotionSettings, make_motion_dataset, render_sample, scenes

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'data' / 'make_motion_dataset.py'
SMALL = {'num_train': 8, 'num_val': 8, 'num_frames': 10, 'num_scenes': 3}


def decode(path: Path) -> tuple[np.ndarray, list[float], str]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        codec = container.streams.video[0].codec_context.name
        return np.stack([f.to_ndarray(format='rgb24') for f in frames]), [f.time for f in frames], codec


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return -10 * np.log10(((a.astype(float) - b) ** 2).mean() / 255**2)


@pytest.fixture(scope='module')
def dataset(tmp_path_factory) -> tuple[Path, MotionSettings]:
    settings = MotionSettings(**SMALL)
    return make_motion_dataset(tmp_path_factory.mktemp('motion') / 'set', settings), settings


def test_dataset__lists_are_balanced_and_their_files_decode_to_what_was_drawn(dataset):
    out, settings = dataset
    assert (out / 'classes.txt').read_text().split() == list(CLASSES)
    drawn_scenes, codecs = scenes(settings), set()
    for split, num_clips in (('train', settings.num_train), ('val', settings.num_val)):
        lines = [line.split(' ') for line in (out / f'{split}.txt').read_text().splitlines()]
        labels = [int(label) for _, label in lines]
        assert len(lines) == num_clips and sorted(labels) == [i % len(CLASSES) for i in range(num_clips)]
        for index, (name, label) in enumerate(lines):
            frames, times, codec = decode(out / name)
            codecs.add((Path(name).suffix, codec))
            drawn = render_sample(settings, drawn_scenes, split, index, int(label))
            assert frames.shape == drawn.shape == (10, 64, 64, 3)
            np.testing.assert_allclose(times, np.arange(10) / settings.fps, atol=1e-3)
            # every frame is nearest to the one drawn in its place
            nearest = [int(np.argmin([((frame.astype(float) - d) ** 2).mean() for d in drawn])) for frame in frames]
            assert nearest == list(range(10))
            assert psnr(frames, drawn) > 24  # colour is stored at half the resolution
    assert codecs == {('.mp4', 'h264'), ('.mp4', 'mpeg4'), ('.avi', 'mpeg4')}


def test_dataset__workers_change_no_byte_and_the_seed_does(dataset, tmp_path):
    out, settings = dataset
    again = make_motion_dataset(tmp_path / 'again', settings, num_workers=2)
    names = sorted(path.relative_to(out) for path in out.rglob('*') if path.is_file())
    assert len(names) == 20 and names == sorted(path.relative_to(again) for path in again.rglob('*') if path.is_file())
    for name in names:
        assert (out / name).read_bytes() == (again / name).read_bytes(), name
    other = make_motion_dataset(tmp_path / 'other', MotionSettings(**SMALL, seed=1))
    assert (out / 'train/00000.mp4').read_bytes() != (other / 'train/00000.mp4').read_bytes()


def test_dataset__complete_folder_is_left_alone_and_one_of_other_settings_refused(dataset):
    out, settings = dataset
    before = {path: path.stat().st_mtime_ns for path in out.rglob('*')}
    make_motion_dataset(out, settings)
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob('*')}
    with pytest.raises(ValueError, match='other settings.*remove it'):
        make_motion_dataset(out, MotionSettings(**SMALL, seed=5))


def test_render__first_frame_does_not_depend_on_the_class():
    settings = MotionSettings(**SMALL)
    drawn = scenes(settings)
    clips = [render_sample(settings, drawn, 'train', 4, label) for label in range(len(CLASSES))]
    for label, clip in enumerate(clips):
        np.testing.assert_array_equal(clip[0], clips[0][0])
        # circuits share their first step with a move, so compare the whole
        assert all(psnr(clip, other) < 30 for other in clips[:label])


def frame_features(frames: np.ndarray) -> np.ndarray:
    """Colours and edges of ``(n, H, W, 3)`` frames, coarse, and the overall spectrum: what one frame can tell."""
    small = np.stack([cv2.resize(f, (8, 8), interpolation=cv2.INTER_AREA) for f in frames]).reshape(len(frames), -1)
    grey = frames.mean(-1)
    edges = np.stack([np.abs(np.diff(grey, axis=axis)).mean((1, 2)) for axis in (1, 2)], -1)
    spectrum = np.log1p(np.abs(np.fft.rfft2(grey))).reshape(len(frames), 8, 8, 33).mean(2).reshape(len(frames), -1)
    features = np.concatenate([small / 64, edges, spectrum], 1)
    return (features - features.mean(0)) / (features.std(0) + 1e-6)


def accuracy_of_ridge(frames: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Held-out accuracy of a linear classifier of single frames, and the most that chance explains (3.5 errors)."""
    x, num_classes = frame_features(frames), labels.max() + 1
    y = np.eye(num_classes)[labels] - 1 / num_classes
    cut = len(x) * 2 // 3
    ridge = np.linalg.solve(x[:cut].T @ x[:cut] + 100 * np.eye(x.shape[1]), x[:cut].T @ y[:cut])
    correct = ((x[cut:] @ ridge).argmax(1) == labels[cut:]).mean()
    chance = 1 / num_classes
    return correct, chance + 3.5 * np.sqrt(chance * (1 - chance) / (len(x) - cut))


def frames_after_five_steps(classes: tuple[str, ...], num_clips: int) -> tuple[np.ndarray, np.ndarray]:
    settings = MotionSettings(num_train=num_clips, num_val=1, num_frames=6, classes=classes)
    drawn = scenes(settings)
    labels = motion.labels(num_clips, len(classes), np.random.default_rng(1))
    frames = [render_sample(settings, drawn, 'train', index, label)[5] for index, label in enumerate(labels)]
    return np.stack(frames), labels


def test_classes__one_frame_does_not_tell_them_apart():
    """Frame 0 is the same in every class (above); here the frame after five steps."""
    correct, most = accuracy_of_ridge(*frames_after_five_steps(CLASSES, 450))
    assert correct < most


def test_classes__scale_does_not_tell_approach_from_retreat():
    frames, labels = frames_after_five_steps(('approach', 'retreat'), 300)
    correct, most = accuracy_of_ridge(frames, labels)
    assert correct < most
    # the same classifier finds out an ordinary zoom, which ends with larger things in view
    enlarged = [cv2.resize(f[16:48, 16:48], (64, 64)) if label == 0 else f for f, label in zip(frames, labels)]
    correct, most = accuracy_of_ridge(np.stack(enlarged), labels)
    assert correct > most


def disc_of(frame: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Centre, area and angle of the disc, which is brighter than any wall, measured by hand on a view without edges."""
    size = len(frame)
    is_disc = frame.max(-1) > 150
    turns = np.exp(2j * np.pi * np.arange(size) / size)  # a circular mean: the disc may lie over an edge
    centre = np.array([np.angle((is_disc.sum(axis) * turns).sum()) / (2 * np.pi) * size for axis in (0, 1)])  # x, y
    offset = (np.arange(size) - centre[:, None] + size / 2) % size - size / 2
    colour = frame.argmax(-1)
    largest = np.bincount(colour[is_disc], minlength=3).argmax()  # half of the disc is one colour
    y, x = np.nonzero(is_disc & (colour == largest))
    return centre, float(is_disc.sum()), float(np.angle((offset[0][x] + 1j * offset[1][y]).sum()))


def class_of(frames: np.ndarray) -> str:
    """The class of a clip, told by hand from how the disc's centre, area and angle change."""
    centre, area, angle = (np.array(values) for values in zip(*(disc_of(frame) for frame in frames)))
    size = frames.shape[1]
    steps = (np.diff(centre, axis=0) + size / 2) % size - size / 2
    if np.median(np.abs(steps).max(1)) < 2:
        growth = np.median(np.diff(np.log(area)))
        turning = np.median(np.angle(np.exp(1j * np.diff(angle))))
        if abs(growth) > 0.08:
            return 'approach' if growth > 0 else 'retreat'
        return 'rotate_clockwise' if turning > 0 else 'rotate_counterclockwise'
    names = [max(motion.MOVES, key=lambda name: np.dot(motion.MOVES[name], step)) for step in steps]
    if len(set(names)) == 1:
        return f'move_{names[0]}'
    turns = list(zip(names, names[1:]))
    votes = {name: sum(turns.count((a, b)) for a, b in zip(legs, legs[1:] + legs[:1]))
             for name, legs in motion.CIRCUITS.items()}
    return max(votes, key=votes.get)


def test_classes__motion_tells_them_apart(tmp_path):
    settings = MotionSettings(num_train=50, num_val=1, num_frames=8)
    out = make_motion_dataset(tmp_path / 'set', settings)
    correct = []
    for line in (out / 'train.txt').read_text().splitlines():
        name, label = line.split()
        correct.append(class_of(decode(out / name)[0]) == CLASSES[int(label)])
    assert np.mean(correct) > 0.9


def test_circuits__make_the_same_moves_in_another_order():
    paths = [motion.motion_path(name, 9, 6.0, 64, phase=0) for name in motion.CIRCUITS]
    steps = [np.diff(path.shift, axis=0) for path in paths]
    assert sorted(map(tuple, steps[0])) == sorted(map(tuple, steps[1]))
    assert not np.array_equal(*steps)
    for path in paths:
        np.testing.assert_allclose(path.shift[-1], path.shift[0], atol=1e-9)  # eight steps close it


def test_render__disc_lies_where_the_path_says():
    scene = motion.draw_scene(64, np.random.default_rng(0))
    for name in ('move_right', 'rotate_clockwise', 'approach'):
        path = motion.motion_path(name, 6, 4.0, 64, phase=0)
        frames = motion.render_clip(scene, path, np.random.default_rng(3)).astype(float)
        centre, area, angle = zip(*(disc_of(frame) for frame in frames))
        moved = (np.diff(centre, axis=0) + 32) % 64 - 32
        np.testing.assert_allclose(moved, np.diff(path.shift, axis=0), atol=0.5)
        np.testing.assert_allclose(np.angle(np.exp(1j * np.diff(angle))), np.diff(path.angle), atol=0.1)
        growth = np.diff(np.log2(area)) / 2
        wrapped = (growth - np.diff(path.octaves) + 0.5) % 1 - 0.5  # at its largest the disc starts small again
        np.testing.assert_allclose(wrapped, 0, atol=0.06)


@pytest.mark.parametrize('wrong, message', [
    ({'size': 63}, 'even'), ({'classes': ('move_left',)}, 'two or more'), ({'classes': ('left', 'right')}, 'out of'),
    ({'num_frames': 1}, '2 frames'), ({'speed': (8.0, 5.0)}, 'slowest'), ({'num_train': 0}, 'at least 1')])
def test_settings__wrong_value_is_refused_in_words(wrong, message):
    with pytest.raises(ValueError, match=message):
        MotionSettings(**wrong)


def test_tool__writes_the_settings_it_was_given(tmp_path):
    out = tmp_path / 'set'
    done = subprocess.run([sys.executable, TOOL, out, '--train', '5', '--val', '3', '--frames', '4', '--size', '32',
                           '--speed', '2', '3', '--seed', '7', '--classes', 'approach', 'retreat'],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    settings = json.loads((out / 'settings.json').read_text())
    assert (settings['num_train'], settings['num_val'], settings['num_frames'], settings['size']) == (5, 3, 4, 32)
    assert settings['seed'] == 7 and (out / 'classes.txt').read_text() == 'approach\nretreat\n'
    assert decode(out / 'train/00000.mp4')[0].shape == (4, 32, 32, 3)
