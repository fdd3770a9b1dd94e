"""A small labelled set of real video files whose classes are motions that no single frame gives away.

A coloured disc moves in front of a textured wall, over an edge of the view and in again at the opposite one. A clip starts
from a uniformly random part of the wall and place, angle and size of the disc, and every motion keeps that distribution
uniform: frame ``i`` of a clip is distributed alike in every class, whatever ``i``. What tells the classes apart is the
change between frames, and for the two circuits, which make the same four moves, only the order of the changes.
"""
from __future__ import annotations

import io
import itertools
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from ..utils.files import write_whole

MOVES = {'left': (-1, 0), 'right': (1, 0), 'up': (0, -1), 'down': (0, 1)}  # of the content, x to the right, y down
CIRCUITS = {
    'circuit_clockwise': ('right', 'down', 'left', 'up'),
    'circuit_counterclockwise': ('right', 'up', 'left', 'down'),
}
CLASSES = (*(f'move_{name}' for name in MOVES), 'rotate_clockwise', 'rotate_counterclockwise', 'approach', 'retreat',
           *CIRCUITS)
LEG = 2  # frames a circuit moves one way: 8 frames then see three turns

RADIUS = (9 / 64, 18 / 64)  # of the disc, as shares of the view's size; an octave apart, the ends of a zoom
MEAN_RADIUS = 12 / 64  # where a rotation has its speed
ZOOM = 0.25  # speed of the edge of an approaching disc, as a share of the speed of a moving one
SECTORS = (0.5, 0.25, 0.25)  # of the disc, as shares of a turn; unequal, so that its angle shows
NUM_SHAPES = 8  # on a wall
CONTAINERS = {  # by index % 8; every other file is H.264 in mp4
    3: ('mp4', 'mpeg4', {'qmin': '2', 'qmax': '3'}),
    7: ('avi', 'mpeg4', {'qmin': '2', 'qmax': '3'}),
}
# x264's macroblock tree in threads gives other bytes from run to run
H264 = ('mp4', 'libx264', {'crf': '18', 'preset': 'veryfast', 'x264-params': 'mbtree=0'})


@dataclass(frozen=True)
class MotionSettings:
    """What decides every byte of a motion data set.

    Args:
        num_train: clips of the training list.
        num_val: clips of the validation list.
        size: height and width in pixels; even, as yuv420p asks.
        num_frames: frames of a clip.
        fps: frames per second of a file.
        speed: slowest and fastest motion in pixels a frame; see ``motion_path``.
        num_scenes: scenes, shared by all classes and by both lists.
        classes: names out of ``CLASSES``; a label is the position in this tuple.
        seed: of everything random.

    Raises:
        ValueError: if a value cannot be drawn.
    """
    num_train: int = 800
    num_val: int = 400
    size: int = 64
    num_frames: int = 16
    fps: int = 8
    speed: tuple[float, float] = (5.0, 8.0)
    num_scenes: int = 6
    classes: tuple[str, ...] = CLASSES
    seed: int = 0

    def __post_init__(self):
        unknown = [name for name in self.classes if name not in CLASSES]
        if unknown or len(set(self.classes)) < max(2, len(self.classes)):
            raise ValueError(f'classes={self.classes}: expected two or more different names out of {CLASSES}')
        if self.size < 16 or self.size % 2:
            raise ValueError(f'size={self.size}: expected an even number of pixels from 16 up (yuv420p halves it)')
        if min(self.num_train, self.num_val, self.num_scenes, self.fps) < 1 or self.num_frames < 2:
            raise ValueError(f'num_train={self.num_train}, num_val={self.num_val}, num_scenes={self.num_scenes}, '
                             f'fps={self.fps}, num_frames={self.num_frames}: expected at least 1, and 2 frames')
        if not 0 < self.speed[0] <= self.speed[1] < self.size / 4:
            raise ValueError(f'speed={self.speed}: expected 0 < slowest <= fastest < size / 4 = {self.size / 4}; '
                             'a faster motion leaves too little in common between two frames')


@dataclass(frozen=True)
class MotionPath:
    """Where the disc is in each of T frames, relative to the first.

    Args:
        shift: ``(T, 2)`` pixels to the right and down.
        angle: ``(T,)`` radians, clockwise on the screen.
        octaves: ``(T,)`` log2 of the enlargement.
    """
    shift: np.ndarray
    angle: np.ndarray
    octaves: np.ndarray


def motion_path(name: str, num_frames: int, speed: float, size: int, phase: int) -> MotionPath:
    """Return the path of one class.

    Args:
        name: out of ``CLASSES``.
        num_frames: T.
        speed: pixels a frame, of the centre or, for rotations, ``MEAN_RADIUS`` away from it; zooms take ``ZOOM`` of it.
        size: pixels of the view.
        phase: step of a circuit at which the clip begins.
    """
    steps = np.zeros((num_frames - 1, 2))
    turn = zoom = 0.0
    if name in CIRCUITS:
        legs = CIRCUITS[name]
        steps[:] = [MOVES[legs[(i + phase) // LEG % len(legs)]] for i in range(num_frames - 1)]
    elif name.startswith('move_'):
        steps[:] = MOVES[name.removeprefix('move_')]
    elif name.startswith('rotate_'):
        turn = speed / (MEAN_RADIUS * size) * (1 if name == 'rotate_clockwise' else -1)
    else:
        zoom = np.log2(1 + ZOOM * speed / (MEAN_RADIUS * size)) * (1 if name == 'approach' else -1)
    shift = np.concatenate([np.zeros((1, 2)), np.cumsum(steps * speed, 0)])
    time = np.arange(num_frames)
    return MotionPath(shift=shift, angle=turn * time, octaves=zoom * time)


@dataclass(frozen=True)
class Scene:
    """What is filmed.

    Args:
        wall: ``(H, W, 3)`` float32 in [0, 1], dark and soft.
        colours: ``(3, 3)`` float32 in [0, 1], bright; RGB of each sector of the disc.
    """
    wall: np.ndarray
    colours: np.ndarray


def draw_scene(size: int, rng: np.random.Generator) -> Scene:
    """Draw a wall of ``size`` pixels a side, which may be tiled, and pick the colours of the disc."""
    wall = np.full((size, size, 3), rng.uniform(0.08, 0.16), np.float32)
    for colour in _colours(rng, NUM_SHAPES, brightness=0.4):
        corners = rng.choice([3, 4, 32])
        around = rng.uniform(0, 2 * np.pi) + np.arange(corners) / corners * 2 * np.pi
        outline = np.stack([np.cos(around), np.sin(around)], -1) * rng.uniform(0.1, 0.25) * size + rng.uniform(0, size, 2)
        for place in itertools.product((-size, 0, size), repeat=2):  # beyond the edges, too, so that the wall tiles
            cv2.fillConvexPoly(wall, np.round(outline + place).astype(np.int32), colour.tolist())
    wall = cv2.GaussianBlur(np.tile(wall, (3, 3, 1)), (0, 0), size / 32)[size:2 * size, size:2 * size]
    return Scene(wall, _colours(rng, len(SECTORS), brightness=1.0))


def _colours(rng: np.random.Generator, number: int, brightness: float) -> np.ndarray:
    """Saturated colours spread round the colour circle, ``(number, 3)`` float32 RGB up to ``brightness``."""
    hue = (rng.uniform() + np.arange(number) / number) % 1 * 360
    hsv = np.stack([hue, np.full(number, 0.9), np.full(number, brightness)], -1).astype(np.float32)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]


def render_clip(scene: Scene, path: MotionPath, rng: np.random.Generator) -> np.ndarray:
    """Film a scene along a path from a random start, in slightly varied light.

    Frame 0 depends on ``scene`` and ``rng`` alone, never on ``path``.

    Args:
        scene: of ``draw_scene``.
        path: of T frames.
        rng: of the start and the light.

    Returns:
        ``(T, H, W, 3)`` uint8 RGB.
    """
    size = len(scene.wall)
    place = rng.uniform(0, size, 2) + path.shift  # (T, 2)
    angle = rng.uniform(0, 2 * np.pi) + path.angle  # (T,)
    radius = RADIUS[0] * size * (RADIUS[1] / RADIUS[0]) ** ((rng.uniform() + path.octaves) % 1)  # (T,)
    axis = (np.arange(2 * size) + 0.5) / 2 - 0.5  # four samples a pixel, averaged: smooth edges
    x, y = (_around(axis - centre, size).astype(np.float32) for centre in place.T[:, :, None])  # (T, 2 * size) each
    x, y = x[:, None, :], y[:, :, None]
    turn = (np.arctan2(y, x) - angle[:, None, None].astype(np.float32)) / np.float32(2 * np.pi) % 1  # (T, 2 * size, 2 * size)
    disc = scene.colours[np.searchsorted(np.cumsum(SECTORS[:-1], dtype=np.float32), turn, side='right')]
    is_disc = x**2 + y**2 < radius[:, None, None]**2
    wall = np.roll(scene.wall, rng.integers(0, size, 2), (0, 1)).repeat(2, 0).repeat(2, 1)
    fine = np.where(is_disc[..., None], disc, wall)
    frames = sum(fine[:, i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4
    return np.clip(frames * rng.uniform(0.9, 1.1) * 255, 0, 255).round().astype(np.uint8)


def _around(offset: np.ndarray, size: int) -> np.ndarray:
    """Bring offsets into ``[-size / 2, size / 2)``: what leaves the view at one edge comes in at the other."""
    return (offset + size / 2) % size - size / 2


def write_video(path: str | os.PathLike, frames: np.ndarray, fps: int, index: int) -> None:
    """Write one file, whole or not at all, as H.264, or MPEG-4 where ``index % 8`` is 3 (mp4) or 7 (avi).

    Args:
        path: its suffix must fit the container, see ``video_name``.
        frames: ``(T, H, W, 3)`` uint8 RGB.
        fps: frames per second.
        index: number of the clip, which picks the codec.
    """
    container_format, codec, options = CONTAINERS.get(index % 8, H264)
    file = io.BytesIO()
    with av.open(file, 'w', format=container_format) as container:
        stream = container.add_stream(codec, rate=fps, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = 'yuv420p'
        stream.codec_context.thread_count = 1  # the same bytes on every machine
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
        container.mux(stream.encode(None))
    write_whole(path, file.getvalue())


def video_name(split: str, index: int) -> str:
    """Path of clip ``index`` below the data set's folder; it says nothing of the label."""
    return f'{split}/{index:05d}.{CONTAINERS.get(index % 8, H264)[0]}'


def labels(num_clips: int, num_classes: int, rng: np.random.Generator) -> np.ndarray:
    """Labels ``(num_clips,)`` in random order, each class as often as any other (give or take one)."""
    return rng.permutation(np.arange(num_clips) % num_classes)


def render_sample(settings: MotionSettings, drawn: list[Scene], split: str, index: int, label: int) -> np.ndarray:
    """Film clip ``index`` of a split: a pure function of its arguments.

    Args:
        settings: of the data set.
        drawn: the scenes, of ``scenes(settings)``.
        split: ``'train'`` or ``'val'``.
        index: of the clip in its split.
        label: decides the motion and nothing else.

    Returns:
        ``(T, size, size, 3)`` uint8 RGB.
    """
    rng = np.random.default_rng([settings.seed, ('train', 'val').index(split), index])
    scene = drawn[rng.integers(len(drawn))]
    speed = rng.uniform(*settings.speed)
    phase = int(rng.integers(4 * LEG))
    path = motion_path(settings.classes[label], settings.num_frames, speed, settings.size, phase)
    return render_clip(scene, path, rng)


def scenes(settings: MotionSettings) -> list[Scene]:
    """Draw every scene."""
    return [draw_scene(settings.size, np.random.default_rng([settings.seed, 2, index])) for index in range(settings.num_scenes)]


def make_motion_dataset(out: str | os.PathLike, settings: MotionSettings, num_workers: int = 1,
                        progress: Callable[[Iterable], Iterable] = iter) -> Path:
    """Write the videos, ``train.txt`` and ``val.txt`` (``path label`` a line), ``classes.txt`` and ``settings.json``.

    ``settings.json`` is written last. A folder that has it, with the same settings, is left as it is.

    Args:
        out: folder to write.
        settings: of the data set.
        num_workers: threads; they change no byte.
        progress: wraps the iterator over finished videos, such as ``tqdm``.

    Returns:
        The folder.

    Raises:
        ValueError: if the folder holds a data set of other settings.
    """
    out = Path(out)
    wanted = json.loads(json.dumps(asdict(settings)))
    settings_file = out / 'settings.json'
    if settings_file.exists():
        found = json.loads(settings_file.read_text())
        if found != wanted:
            raise ValueError(f'{out} holds a data set of other settings, {found}, not {wanted}: '
                             'remove it or name another folder')
        return out
    drawn = scenes(settings)
    lists, jobs = {}, []
    for order, (split, num_clips) in enumerate((('train', settings.num_train), ('val', settings.num_val))):
        of_split = labels(num_clips, len(settings.classes), np.random.default_rng([settings.seed, 3, order]))
        lists[f'{split}.txt'] = [f'{video_name(split, index)} {label}' for index, label in enumerate(of_split)]
        jobs += [(split, index, label) for index, label in enumerate(of_split)]

    def write(job: tuple[str, int, int]) -> None:
        split, index, label = job
        frames = render_sample(settings, drawn, split, index, label)
        write_video(out / video_name(split, index), frames, settings.fps, index)

    with ThreadPoolExecutor(num_workers) as pool:  # numpy and the codecs release the interpreter lock
        for _ in progress(pool.map(write, jobs)):
            pass
    write_whole(out / 'classes.txt', '\n'.join(settings.classes) + '\n')
    for name, lines in lists.items():
        write_whole(out / name, '\n'.join(lines) + '\n')
    write_whole(settings_file, json.dumps(wanted, indent=2) + '\n')
    return out
