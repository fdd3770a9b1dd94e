"""Makes small real video files of every awkward kind."""
from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition


def picture(number: int, width: int, height: int) -> np.ndarray:
    """A ``(height, width, 3)`` uint8 image that no other number has: a ramp that turns and moves, and blocks."""
    y, x = np.mgrid[:height, :width]
    rng = np.random.default_rng(number)
    image = np.stack([x * 3 + number * 7, y * 2 + x + number * 13, np.full_like(x, number * 5)], -1) % 256
    blocks = rng.integers(0, 256, (height // 16 + 1, width // 16 + 1, 1))
    return (image // 2 + np.kron(blocks, np.ones((16, 16, 1), int))[:height, :width] // 2).astype(np.uint8)


def write_video(path: Path, num_frames: int = 40, size: tuple[int, int] = (96, 64), codec: str = 'libx264',
                options: dict | None = None, pixel_format: str = 'yuv420p', rate: int = 25, times: list | None = None,
                rotation: int = 0, audio: bool = False, container_format: str | None = None, first: int = 0) -> Path:
    """Encode ``picture(first), picture(first + 1), ...``; ``times`` are time stamps in 1/1000 s, else the rate is constant."""
    options = options or {}
    if codec == 'libx264':  # whose macroblock tree, in threads, gives other bytes from run to run
        options = {'x264-params': 'mbtree=0'} | options
    with av.open(str(path), 'w', format=container_format) as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = pixel_format
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        sound = container.add_stream('aac', rate=16000, layout='mono') if audio else None
        for i in range(num_frames):
            frame = av.VideoFrame.from_ndarray(picture(first + i, *size), format='rgb24')
            if times is not None:
                frame.pts, frame.time_base = times[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
            if sound is not None:
                samples = av.AudioFrame.from_ndarray(np.zeros((1, 16000 // rate), np.float32), 'fltp', 'mono')
                samples.sample_rate = 16000
                container.mux(sound.encode(samples))
        container.mux(stream.encode(None))
        if sound is not None:
            container.mux(sound.encode(None))
    return path


def write_sound(path: Path) -> Path:
    """A file with sound and no picture."""
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('aac', rate=16000, layout='mono')
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), 'fltp', 'mono')
        samples.sample_rate = 16000
        container.mux(stream.encode(samples))
        container.mux(stream.encode(None))
    return path


def write_two_streams(path: Path) -> Path:
    """A small first video stream of 10 frames, and a larger second one of 20, which is the best."""
    with av.open(str(path), 'w') as container:
        streams = [container.add_stream('libx264', rate=25) for _ in range(2)]
        for stream, size in zip(streams, [(32, 32), (96, 64)]):
            stream.width, stream.height = size
            stream.pix_fmt = 'yuv420p'
        streams[0].disposition, streams[1].disposition = Disposition(0), Disposition.default
        for stream, count in zip(streams, [10, 20]):
            for i in range(count):
                frame = av.VideoFrame.from_ndarray(picture(i, stream.width, stream.height), format='rgb24')
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


def sequential_decode(path: Path) -> tuple[np.ndarray, list[np.ndarray]]:
    """The reference: times and RGB frames of FFmpeg's best stream, from start to end, turned by PyAV's angle."""
    times, frames = [], []
    with av.open(str(path)) as container:
        stream = container.streams.best('video')
        for i, frame in enumerate(container.decode(stream)):
            times.append(i / float(stream.average_rate) if frame.time is None else frame.time)
            frames.append(np.rot90(frame.to_ndarray(format='rgb24'), frame.rotation // 90))
    times = np.array(times) - times[0]
    if np.any(np.diff(times) <= 0):  # AVI has no time stamps, only an order
        times = np.arange(len(times)) / float(stream.average_rate)
    return times, frames


def cut(source: Path, target: Path, share: float) -> Path:
    """The first ``share`` of a file's bytes."""
    data = source.read_bytes()
    target.write_bytes(data[:int(len(data) * share)])
    return target
