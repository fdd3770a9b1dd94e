from __future__ import annotations

import random
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from ssvideo.datasets import BrokenFileError
from ssvideo.datasets.decoders import VideoReader, choice, decord_frames, torchcodec_frames, why_not_decord, why_not_torchcodec
from ssvideo.datasets.decoders.h264 import slices_of

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import video_files as files  # noqa: E402

SHARED = Path(__file__).resolve().parents[2] / '..' / 'shared' / 'videos'
REAL = sorted(p for p in SHARED.glob('*.*') if p.suffix != '.md' and p.stem != 'audio_only') or [
    pytest.param(SHARED, marks=pytest.mark.skip(reason=f'{SHARED} is not there'))]

B_FRAMES = {'g': '12', 'bf': '3', 'x264-params': 'scenecut=0:b-pyramid=normal'}
VARIABLE = np.cumsum([50, 40, 40, 7, 200, 33, 33, 33, 90, 1] * 4).tolist()
KINDS = {
    'h264_b_frames.mp4': {'options': B_FRAMES},
    'h264_b_frames.mkv': {'options': B_FRAMES},
    'h264_open_gop.mp4': {'options': {'g': '10', 'bf': '3', 'x264-params': 'open-gop=1:scenecut=0:b-pyramid=normal'}},
    'h264_intra_refresh.mp4': {'options': {'g': '10', 'x264-params': 'intra-refresh=1:scenecut=0'}},
    'h264_intra_refresh_p.mp4': {'options': {'g': '10', 'bf': '0', 'x264-params': 'intra-refresh=1:scenecut=0'}},
    'h264_intra_refresh_late.mp4': {
        'num_frames': 60, 'options': {'g': '12', 'bf': '0', 'x264-params': 'intra-refresh=1:scenecut=0'}},
    'h264_no_edit_list.mp4': {'options': B_FRAMES | {'use_editlist': '0'}},
    'h264_negative_offsets.mp4': {'options': B_FRAMES | {'use_editlist': '0', 'movflags': 'negative_cts_offsets'}},
    'h264_fragments.mp4': {'options': B_FRAMES | {'movflags': 'frag_keyframe+empty_moov'}},
    'h264_one_gop.mp4': {'options': {'g': '1000', 'x264-params': 'scenecut=0'}},
    'h264_odd.mp4': {'size': (97, 63), 'pixel_format': 'yuv444p'},
    'h264_sound.mp4': {'audio': True},
    'h264_10bit.mp4': {'pixel_format': 'yuv420p10le', 'options': B_FRAMES},
    'h264.ts': {'options': B_FRAMES},
    'h264.flv': {'options': B_FRAMES},
    'h264.avi': {'options': B_FRAMES},
    'raw.h264': {'options': B_FRAMES},
    'variable.mp4': {'times': VARIABLE, 'options': B_FRAMES},
    'variable_begins_late.mp4': {'times': [t + 777 for t in VARIABLE], 'options': B_FRAMES},
    'variable.mkv': {'times': VARIABLE, 'options': {'g': '8'}},
    'hevc.mkv': {'codec': 'libx265', 'options': {'x265-params': 'keyint=10:bframes=3:open-gop=0:log-level=none'}},
    'hevc.mp4': {'codec': 'libx265', 'options': {'x265-params': 'keyint=10:open-gop=1:log-level=none'}},
    'mpeg4.avi': {'codec': 'mpeg4', 'options': {'g': '12'}},
    'mpeg4_b_frames.avi': {'codec': 'mpeg4', 'options': {'g': '12', 'bf': '2'}},
    'mpeg4_b_frames.mp4': {'codec': 'mpeg4', 'options': {'g': '12', 'bf': '2'}},
    'mpeg2_b_frames.mpg': {'codec': 'mpeg2video', 'options': {'g': '12', 'bf': '2'}},
    'mpeg1.mpg': {'codec': 'mpeg1video'},
    'vp8.webm': {'codec': 'libvpx', 'options': {'auto-alt-ref': '1', 'lag-in-frames': '10', 'g': '12'}},
    'vp9.webm': {'codec': 'libvpx-vp9', 'options': {'g': '12', 'deadline': 'realtime', 'cpu-used': '8'}},
    'vp9.mkv': {'codec': 'libvpx-vp9', 'options': {'g': '12', 'lag-in-frames': '10', 'auto-alt-ref': '1', 'cpu-used': '8'}},
    'mjpeg.avi': {'codec': 'mjpeg', 'pixel_format': 'yuvj420p'},
    'turned_90.mp4': {'rotation': 90, 'options': B_FRAMES},
    'turned_180.mp4': {'rotation': 180},
    'turned_270.mov': {'rotation': 270},
}
OPEN_GROUPS = ('h264_open_gop.mp4', 'h264_intra_refresh.mp4', 'h264_intra_refresh_p.mp4', 'h264_intra_refresh_late.mp4')


def requests(num_frames: int) -> list[list[int]]:
    """Clips as they are asked for: strided runs, scattered and repeated frames, the last frames, everything."""
    rng = random.Random(0)
    runs = [list(range(num_frames))[rng.randrange(num_frames)::rng.randint(1, 5)][:8] for _ in range(5)]
    scattered = [[rng.randrange(num_frames) for _ in range(4)] for _ in range(5)]
    return [*runs, *scattered, [num_frames - 1], [num_frames - 1, 0, 0], list(range(num_frames))]


def assert_exact(path: Path) -> None:
    times, frames = files.sequential_decode(path)
    for indices in requests(len(frames)):
        reader = VideoReader(path)
        assert reader.num_frames == len(frames)
        np.testing.assert_allclose(reader.times, times, atol=1e-9)
        for index, frame in zip(indices, reader.frames(indices)):
            assert np.array_equal(frame, frames[index]), (path.name, indices, index)
        reader.close()


@pytest.mark.parametrize('name', KINDS)
def test_video_reader__returns_the_frames_of_a_sequential_decode(name, tmp_path):
    assert_exact(files.write_video(tmp_path / name, **KINDS[name]))


@pytest.mark.parametrize('path', REAL, ids=lambda p: p.name)
def test_video_reader__returns_the_frames_of_a_sequential_decode_of_real_files(path):
    assert_exact(path)


def test_video_reader__sees_the_pictures_that_were_written(tmp_path):
    path = files.write_video(tmp_path / 'a.mp4', options={'crf': '1', 'g': '6'}, pixel_format='yuv444p')
    for index, frame in zip([30, 3], VideoReader(path).frames([30, 3])):
        assert np.abs(frame.astype(int) - files.picture(index, 96, 64)).mean() < 3


@pytest.mark.parametrize(('angle', 'turns'), [(90, 1), (180, 2), (270, 3)])
def test_video_reader__turns_as_the_file_says(angle, turns, tmp_path):
    upright = files.write_video(tmp_path / 'upright.mp4')
    turned = files.write_video(tmp_path / 'turned.mp4', rotation=angle)
    expected = np.rot90(VideoReader(upright).frames([7])[0], turns)
    assert np.array_equal(VideoReader(turned).frames([7])[0], expected)


def test_video_reader__takes_the_best_stream(tmp_path):
    reader = VideoReader(files.write_two_streams(tmp_path / 'two.mp4'))
    assert reader.num_frames == 20
    assert reader.frames([19])[0].shape == (64, 96, 3)


def test_video_reader__seeks_and_skips(tmp_path):
    """A late frame costs its group of pictures, not the film."""
    path = files.write_video(tmp_path / 'a.mp4', num_frames=120, options={'g': '10', 'x264-params': 'scenecut=0'})
    reader, decoded = VideoReader(path), []
    decode = reader._decode
    reader._decode = lambda *a: (decoded.append(f.pts) or f for f in decode(*a))
    reader.frames([3, 117])
    assert len(decoded) < 20


@pytest.mark.parametrize('name', ['h264_b_frames.mp4', 'h264_b_frames.mkv', 'h264_open_gop.mp4', 'h264_no_edit_list.mp4',
                                  'h264_negative_offsets.mp4', 'h264_fragments.mp4', 'variable_begins_late.mp4', 'hevc.mp4',
                                  'mpeg4_b_frames.mp4', 'turned_90.mp4'])
def test_video_reader__a_jump_begins_at_the_last_key_frame_before(name, tmp_path):
    path = files.write_video(tmp_path / name, **KINDS[name])
    with av.open(str(path)) as container:
        keys = [packet.pts for packet in container.demux(video=0) if packet.size and packet.is_keyframe]
    assert len(keys) > 2
    reader, began = VideoReader(path), []
    decode = reader._decode
    reader._decode = lambda packets, *a: decode((began.append(p.pts) or p for p in packets), *a)
    for frame in (*range(reader.num_frames), *reversed(range(reader.num_frames))):
        began.clear()
        reader.frames([frame])
        assert began[0] == max(key for key in keys if key <= reader._pts[frame])


def test_slices_of__tells_what_a_decoder_may_begin_with(tmp_path):
    refresh = {'slices': '4', 'intra-refresh': '1', 'g': '12', 'bf': '0', 'x264-params': 'scenecut=0'}
    for name, options, later in (('closed', B_FRAMES | {'slices': '4'}, {'IDR'}), ('refresh', refresh, {'P'}),
                                 ('open', KINDS['h264_open_gop.mp4']['options'], {'I'})):
        with av.open(str(files.write_video(tmp_path / f'{name}.mp4', options=options))) as container:
            extradata = container.streams.video[0].codec_context.extradata
            packets = [packet for packet in container.demux(video=0) if packet.size]
        keys, others = ([slices_of(bytes(p), extradata) for p in packets if p.is_keyframe == key] for key in (True, False))
        assert keys == [{'IDR'}] + [later] * (len(keys) - 1) and len(keys) > 2
        assert others == [{'P'}] * len(others)
    assert slices_of(bytes(packets[0]), None) == slices_of(bytes(packets[0]), b'\0\0\0\1') == set()


def test_video_reader__a_list_of_a_playlist_opens_no_other_file(tmp_path):
    files.write_video(tmp_path / 'secret.ts')
    playlist = '#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://127.0.0.1:9/secret.ts\n#EXT-X-ENDLIST\n'
    (tmp_path / 'a.mp4').write_text(playlist)
    with pytest.raises(BrokenFileError, match='a.mp4'):
        VideoReader(tmp_path / 'a.mp4')


def test_video_reader__takes_any_file_name(tmp_path):
    path = files.write_video(tmp_path / 'http: a name, with 50% blanks#.mp4')
    assert VideoReader(path).num_frames == 40


def broken_files(folder: Path) -> dict[str, Path]:
    good = files.write_video(folder / 'good.mp4', options=B_FRAMES)
    flipped = bytearray(good.read_bytes())
    for i in random.Random(1).sample(range(2000, len(flipped) - 4000), 300):
        flipped[i] ^= 255
    paths = {'zero': folder / 'zero.mp4', 'text': folder / 'text.mp4', 'missing': folder / 'missing.mp4',
             'flipped': folder / 'flipped.mp4', 'folder': folder / 'folder.mp4',
             'sound': files.write_sound(folder / 'sound.mp4'), 'cut': files.cut(good, folder / 'cut.mp4', 0.6)}
    paths['zero'].write_bytes(b'')
    paths['text'].write_text('not found\n' * 40)
    paths['flipped'].write_bytes(flipped)
    paths['folder'].mkdir()
    return paths


@pytest.mark.parametrize('kind', ['zero', 'text', 'missing', 'flipped', 'folder', 'sound', 'cut'])
def test_video_reader__names_the_file_that_is_broken(kind, tmp_path):
    path = broken_files(tmp_path)[kind]
    with pytest.raises(BrokenFileError, match=path.name) as caught:
        reader = VideoReader(path)
        reader.frames(range(reader.num_frames))
    assert caught.value.path == str(path)
    assert caught.value.reason


@pytest.mark.parametrize('name', ['cut.mkv', 'cut.ts'])
def test_video_reader__gives_what_is_left_of_a_cut_file_or_refuses(name, tmp_path):
    whole = files.write_video(tmp_path / ('whole' + name[3:]), num_frames=60, options=B_FRAMES)
    path = files.cut(whole, tmp_path / name, 0.55)
    frames = files.sequential_decode(whole)[1]
    given = 0  # the last frame aside, which may be cut without a trace
    try:
        reader = VideoReader(path)
    except BrokenFileError:
        return
    assert 5 < reader.num_frames < 60
    for index in range(reader.num_frames - 1):
        try:
            frame = VideoReader(path).frames([index])[0]
        except BrokenFileError:
            continue
        given += 1
        assert np.array_equal(frame, frames[index])
    assert given > 5


def test_video_reader__refuses_frames_that_are_not_there(tmp_path):
    reader = VideoReader(files.write_video(tmp_path / 'a.mp4'))
    with pytest.raises(IndexError, match='40 frames, asked for 0 to 40'):
        reader.frames([0, 40])


# -- other decoders -------------------------------------------------------------------------------------------------

READ = {'decord': (why_not_decord, decord_frames), 'torchcodec': (why_not_torchcodec, torchcodec_frames)}


@pytest.fixture(params=READ)
def decoder(request):
    try:
        choice.check_decoder(request.param)
    except ImportError as error:
        pytest.skip(str(error))
    return request.param


def assert_agrees(path: Path, decoder: str) -> None:
    frames = VideoReader(path).frames(range(VideoReader(path).num_frames))
    for indices in requests(len(frames))[::3]:
        for index, frame in zip(indices, READ[decoder][1](VideoReader(path), indices)):
            assert np.abs(frame.astype(int) - frames[index]).max() <= 2, (path.name, index)


@pytest.mark.parametrize('name', [name for name in KINDS if name.endswith(('.mp4', '.mkv', '.mov', '.webm'))])
def test_other_decoders__give_the_same_frames_or_are_not_used(name, decoder, tmp_path):
    kind, path = KINDS[name], files.write_video(tmp_path / name, **KINDS[name])
    reason = READ[decoder][0](VideoReader(path))
    odd = kind.get('codec') == 'mpeg4' or 'pixel_format' in kind or name in OPEN_GROUPS
    if decoder == 'decord':
        odd |= 'codec' in kind or 'rotation' in kind
    assert bool(odd) == bool(reason)
    if reason is None:
        assert_agrees(path, decoder)


@pytest.mark.parametrize('path', REAL, ids=lambda p: p.name)
def test_other_decoders__give_the_same_frames_of_real_files_or_are_not_used(path, decoder):
    if READ[decoder][0](VideoReader(path)) is None:
        assert_agrees(path, decoder)
    else:
        assert path.suffix != '.mp4' or 'rot' in path.name or '10bit' in path.name


@pytest.mark.parametrize(('times', 'message'), [
    (np.arange(39) / 25, 'finds 40 frames of 39'), (np.arange(40) / 20, 'other times')])
def test_other_decoders__must_agree_with_the_packets(times, message, decoder, tmp_path):
    reader = VideoReader(files.write_video(tmp_path / 'a.mp4', options=B_FRAMES))
    reader.times = times
    with pytest.raises(BrokenFileError, match=f'a.mp4: {decoder} .*{message}'):
        READ[decoder][1](reader, [3, 30])
