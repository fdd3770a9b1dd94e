"""A small labelled set of real video files whose classes are motions that no single frame gives away.

A scene is an endless ladder of layers of coloured shapes, each twice the size of the one below. Coarse layers fade out
and fine ones fade in as the view zooms, so a zoom has neither beginning nor end. A clip starts from a uniformly random
place, angle and zoom of a scene, and every motion keeps that distribution uniform: frame ``i`` of a clip is distributed
alike in every class, whatever ``i``. What tells the classes apart is the change between frames, and for the two
circuits, which make the same four moves, only the order of the changes.
"""
from __future__ import annotations

import io
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

TILE = 128  # pixels of a layer's tile, which repeats
NUM_TILES = 4  # different tiles of a scene's ladder
NUM_VISIBLE = 4  # layers seen at once; the outer two fade
LIFT = 1.5  # octaves that the finest layer lies below the size it is drawn in
NUM_SHAPES = 22
SHAPE_RADIUS = (9.0, 20.0)  # in pixels of the tile; seen at 2**-LIFT to 2**(NUM_VISIBLE - LIFT) times that, at size 64
CONTAINERS = {  # by index % 8; every other file is H.264 in mp4
    3: ('mp4', 'mpeg4', {'qmin': '2', 'qmax': '3'}),
    7: ('avi', 'mpeg4', {'qmin': '2', 'qmax': '3'}),
}
H264 = ('mp4', 'libx264', {'crf': '18', 'preset': 'veryfast'})


@dataclass(frozen=True)
class MotionSettings:
    """What decides every byte of a motion data set.

    Args:
        num_train: clips of the training list.
        num_val: clips of the validation list.
        size: height and width in pixels; even, as yuv420p asks.
        num_frames: frames of a clip.
        fps: frames per second of a file.
        speed: slowest and fastest motion in pixels a frame; of rotations and zooms, at the edge of the view.
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
    """Where the content of a view is in each of T frames, relative to the first.

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
        speed: pixels a frame, for rotations and zooms at ``size / 2`` from the centre.
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
        turn = speed / (size / 2) * (1 if name == 'rotate_clockwise' else -1)
    else:
        zoom = np.log2(1 + speed / (size / 2)) * (1 if name == 'approach' else -1)
    shift = np.concatenate([np.zeros((1, 2)), np.cumsum(steps * speed, 0)])
    time = np.arange(num_frames)
    return MotionPath(shift=shift, angle=turn * time, octaves=zoom * time)


def draw_scene(rng: np.random.Generator) -> np.ndarray:
    """Draw the tiles of one scene in a palette of its own.

    Returns:
        ``(NUM_TILES, TILE, TILE, 4)`` float32 RGBA in [0, 1], colours multiplied by alpha; each tile wraps.
    """
    palette = _palette(rng)
    return np.stack([_draw_tile(palette, rng) for _ in range(NUM_TILES)])


def _palette(rng: np.random.Generator, num_colours: int = 6) -> np.ndarray:
    """Colours spread round the colour circle, alternately light and dark, as ``(num_colours, 3)`` in [0, 1]."""
    hue = (rng.uniform() + np.arange(num_colours) / num_colours) % 1 * 179
    light = np.where(np.arange(num_colours) % 2, rng.uniform(190, 255, num_colours), rng.uniform(60, 130, num_colours))
    hsv = np.stack([hue, rng.uniform(110, 230, num_colours), light], -1).astype(np.uint8)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0] / 255.0


def _draw_tile(palette: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Discs, boxes and triangles, each shaded across, drawn nine times so that the tile wraps."""
    scale = 2  # drawn larger and averaged down: smooth edges
    tile = np.zeros((TILE * scale, TILE * scale, 4), np.float32)
    for _ in range(NUM_SHAPES):
        rows, columns = np.nonzero(_shape_mask(rng, scale))
        u, v = rng.choice([-1, 0, 1, 2], 2) * 2 * np.pi / (TILE * scale)
        shading = 1 + 0.25 * np.sin(u * rows + v * columns + rng.uniform(0, 2 * np.pi))
        colour = palette[rng.integers(len(palette))]
        tile[rows, columns, :3] = np.clip(shading[:, None] * colour, 0, 1)
        tile[rows, columns, 3] = 1
    return cv2.resize(tile, (TILE, TILE), interpolation=cv2.INTER_AREA)


def _shape_mask(rng: np.random.Generator, scale: int) -> np.ndarray:
    corners = rng.choice([3, 4, 32])
    turn, stretch = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.0)
    around = np.arange(corners) / corners * 2 * np.pi
    outline = np.stack([np.cos(around), np.sin(around) * stretch], -1) * rng.uniform(*SHAPE_RADIUS) * scale
    outline = outline @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    outline += rng.uniform(0, TILE * scale, 2)
    mask = np.zeros((TILE * scale, TILE * scale), np.uint8)
    for dx in (-1, 0, 1):
        for dy in (-1, 0, 1):
            cv2.fillConvexPoly(mask, np.round(outline + np.array([dx, dy]) * TILE * scale).astype(np.int32), 1)
    return mask


def render_clip(tiles: np.ndarray, path: MotionPath, size: int, rng: np.random.Generator) -> np.ndarray:
    """Film a scene along a path from a random start, in a slightly tinted light.

    Frame 0 depends on ``tiles``, ``size`` and ``rng`` alone, never on ``path``.

    Args:
        tiles: of ``draw_scene``.
        path: of T frames.
        size: H = W in pixels.
        rng: of the start and the light.

    Returns:
        ``(T, H, W, 3)`` uint8 RGB.
    """
    start_octave, start_angle = rng.uniform(0, NUM_TILES), rng.uniform(0, 2 * np.pi)
    light = rng.uniform(0.9, 1.1) * rng.uniform(0.95, 1.05, 3)
    base = rng.uniform(0.25, 0.6, 3)
    octaves = start_octave + path.octaves  # (T,)
    content = _content_coordinates(path, start_angle, size)  # (T, H, W, 2)
    picture = np.broadcast_to(base, content.shape[:3] + (3,)).astype(np.float32)
    origin_seed = int(rng.integers(2**31))
    lowest, highest = int(np.floor(-octaves.max())), int(np.ceil(NUM_VISIBLE - octaves.min()))
    for rung in range(highest, lowest - 1, -1):  # coarse first, fine layers over them
        height = rung + octaves  # (T,) in (0, NUM_VISIBLE) where the layer is seen
        seen = np.flatnonzero((height > 0) & (height < NUM_VISIBLE))
        if not len(seen):
            continue
        seen = slice(seen[0], seen[-1] + 1)  # zooms are steady, so the frames that see it are in a row
        weight = np.sin(np.pi * height[seen] / NUM_VISIBLE) ** 2
        # Each rung has an origin of its own, whichever rungs the path visits.
        origin = np.random.default_rng([origin_seed, rung + 2**16]).uniform(0, TILE, 2)
        enlarged = 2.0 ** (height[seen] - LIFT) * size / 64  # pixels of the view for one of the tile
        position = content[seen] * _per_frame(1 / enlarged) + origin.astype(np.float32)
        layer = _sample_tile(tiles[rung % NUM_TILES], position)
        layer *= _per_frame(weight)
        picture[seen] *= 1 - layer[..., 3:]
        picture[seen] += layer[..., :3]
    picture *= (light * 255).astype(np.float32)
    return np.clip(picture, 0, 255, out=picture).round().astype(np.uint8)


def _per_frame(values: np.ndarray) -> np.ndarray:
    """``(T,)`` as float32 that multiplies ``(T, H, W, C)``."""
    return values.astype(np.float32)[:, None, None, None]


def _content_coordinates(path: MotionPath, start_angle: float, size: int) -> np.ndarray:
    """Which point of the content each pixel shows, before enlargement: ``(T, H, W, 2)``, the view's centre at 0."""
    axis = np.arange(size, dtype=np.float32) - (size - 1) / 2
    shift = path.shift.astype(np.float32)[:, :, None, None]
    x, y = axis[None, None] - shift[:, 0], axis[None, :, None] - shift[:, 1]  # (T, 1, W), (T, H, 1)
    angle = path.angle + start_angle
    cos, sin = np.cos(angle, dtype=np.float32)[:, None, None], np.sin(angle, dtype=np.float32)[:, None, None]
    return np.stack([cos * x + sin * y, cos * y - sin * x], -1)


def _sample_tile(tile: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Bilinear samples ``(T, H, W, 4)`` of a wrapping tile at ``(T, H, W, 2)`` pixels, x before y."""
    num_frames, height, width, _ = position.shape
    # Whole tiles off, for OpenCV counts pixels in 16 bits; it wraps what is left.
    near = position - TILE * np.floor(position[:, :1, :1] / TILE)
    near = near.reshape(num_frames * height, width, 2)
    sampled = cv2.remap(tile, near, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return sampled.reshape(num_frames, height, width, 4)


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


def render_sample(settings: MotionSettings, tiles: list[np.ndarray], split: str, index: int, label: int) -> np.ndarray:
    """Film clip ``index`` of a split: a pure function of its arguments.

    Args:
        settings: of the data set.
        tiles: of each scene.
        split: ``'train'`` or ``'val'``.
        index: of the clip in its split.
        label: decides the motion and nothing else.

    Returns:
        ``(T, size, size, 3)`` uint8 RGB.
    """
    rng = np.random.default_rng([settings.seed, ('train', 'val').index(split), index])
    scene = tiles[rng.integers(len(tiles))]
    speed = rng.uniform(*settings.speed)
    phase = int(rng.integers(4 * LEG))
    path = motion_path(settings.classes[label], settings.num_frames, speed, settings.size, phase)
    return render_clip(scene, path, settings.size, rng)


def scenes(settings: MotionSettings) -> list[np.ndarray]:
    """Draw the tiles of every scene."""
    return [draw_scene(np.random.default_rng([settings.seed, 2, index])) for index in range(settings.num_scenes)]


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
    tiles = scenes(settings)
    lists, jobs = {}, []
    for order, (split, num_clips) in enumerate((('train', settings.num_train), ('val', settings.num_val))):
        of_split = labels(num_clips, len(settings.classes), np.random.default_rng([settings.seed, 3, order]))
        lists[f'{split}.txt'] = [f'{video_name(split, index)} {label}' for index, label in enumerate(of_split)]
        jobs += [(split, index, label) for index, label in enumerate(of_split)]

    def write(job: tuple[str, int, int]) -> None:
        split, index, label = job
        frames = render_sample(settings, tiles, split, index, label)
        write_video(out / video_name(split, index), frames, settings.fps, index)

    with ThreadPoolExecutor(num_workers) as pool:  # the drawing and the codecs release the interpreter lock
        for _ in progress(pool.map(write, jobs)):
            pass
    write_whole(out / 'classes.txt', '\n'.join(settings.classes) + '\n')
    for name, lines in lists.items():
        write_whole(out / name, '\n'.join(lines) + '\n')
    write_whole(settings_file, json.dumps(wanted, indent=2) + '\n')
    return out
