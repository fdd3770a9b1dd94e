"""What reading holds in memory: nothing once a file is closed, and of a long video only what was asked for."""
from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from ssvideo.datasets.decoders import VideoReader
from ssvideo.datasets.transforms import DecodeClips, SampleClips

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import video_files as files  # noqa: E402

pytestmark = pytest.mark.skipif(not Path('/proc/self/clear_refs').exists(), reason='measures with /proc')


class MallInfo(ctypes.Structure):
    """glibc's ``struct mallinfo2``; ``uordblks`` are the bytes in use."""
    _fields_ = [(name, ctypes.c_size_t) for name in (
        'arena', 'ordblks', 'smblks', 'hblks', 'hblkhd', 'usmblks', 'fsmblks', 'uordblks', 'fordblks', 'keepcost')]


def anonymous_bytes() -> int:
    text = Path('/proc/self/smaps_rollup').read_text()
    return 1024 * int(next(line for line in text.splitlines() if line.startswith('Anonymous')).split()[1])


def resident_bytes(field: str) -> int:
    text = Path('/proc/self/status').read_text()
    return 1024 * int(next(line for line in text.splitlines() if line.startswith(field)).split()[1])


@pytest.mark.parametrize(('time_limit', 'room'), [(None, 4), (60, 16)])  # threads have heaps of their own, which fill first
def test_opening__many_times_holds_no_more(time_limit, room, tmp_path):
    path = files.write_video(tmp_path / 'a.mp4', size=(160, 120), num_frames=20, options={'preset': 'ultrafast'})
    pipeline = SampleClips(8, frame_interval=2), DecodeClips()

    def read(times):
        for _ in range(times):
            results = {'filename': str(path), 'time_limit': time_limit}
            for transform in pipeline:
                results = transform(results)

    read(100)
    before = anonymous_bytes()
    read(300)  # 300 x 8 frames of 58 kB: 138 MB passed through
    assert anonymous_bytes() - before < room * 2**20


def test_opening__what_is_dropped_half_way_is_freed(tmp_path):
    """PyAV loses some bytes for each packet generator that is not closed; a million videos make them gigabytes."""
    path = files.write_video(tmp_path / 'a.mp4', size=(160, 120), num_frames=60, options={'preset': 'ultrafast', 'g': '10'})
    malloc = ctypes.CDLL(None).mallinfo2
    malloc.restype = MallInfo

    def read(times):
        for _ in range(times):
            reader = VideoReader(path)
            reader.frames([2, 44])
            reader.is_turned()
            reader.close()
        gc.collect()
        return malloc().uordblks

    before = read(50)
    assert read(300) - before < 300 * 60


@pytest.mark.parametrize('suffix', ['.mp4', '.ts'])
def test_video_reader__a_long_video_is_never_held_whole(suffix, tmp_path):
    path, picture = tmp_path / f'a{suffix}', av.VideoFrame.from_ndarray(files.picture(1, 320, 240), 'rgb24')
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=25, options={'preset': 'ultrafast'})
        stream.width, stream.height, stream.pix_fmt = 320, 240, 'yuv420p'
        for number in range(2000):  # 230 MB as the decoder gives them
            picture.pts = number
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    Path('/proc/self/clear_refs').write_text('5')  # the peak counts from here
    before = resident_bytes('VmRSS')
    reader = VideoReader(path)
    assert reader.num_frames == 2000
    frames = reader.frames(np.arange(0, 2000, 100))
    assert len(frames) == 20
    assert resident_bytes('VmHWM') - before < 120 * 2**20  # 64 MB are kept at most so as not to decode twice
