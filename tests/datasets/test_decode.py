from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from ssvideo.datasets import VideoList
from ssvideo.datasets.checked_files import Stamp, note_checked
from ssvideo.datasets.decoders import VideoReader, choice, read_frames
from ssvideo.datasets.decoders import torchcodec as torchcodec_module
from ssvideo.datasets.transforms import DecodeClips, LoadImage, SampleClips

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import video_files as files  # noqa: E402

SMOOTH = {'options': {'crf': '1', 'g': '6'}, 'pixel_format': 'yuv444p'}


def decoded(path, indices, **arguments) -> dict:
    results = {'filename': str(path), 'frame_inds': np.array(indices)}
    return DecodeClips(**arguments)(results)


# -- DecodeClips ------------------------------------------------------------------------------------------------------


def test_decode_clips__several_clips_come_from_one_opening(tmp_path, monkeypatch):
    path, opened = files.write_video(tmp_path / 'a.mp4', options={'g': '6'}), []
    start = VideoReader.__init__
    monkeypatch.setattr(VideoReader, '__init__', lambda self, *a: (opened.append(a[0]), start(self, *a))[1])
    results = DecodeClips()(SampleClips(4, frame_interval=2, num_clips=5)({'filename': str(path)}))
    assert len(results['imgs']) == 20 and opened == [str(path)]
    frames = files.sequential_decode(path)[1]
    assert all(np.array_equal(image, frames[i]) for image, i in zip(results['imgs'], results['frame_inds']))
    assert 'video' not in results


def test_decode_clips__a_repeated_frame_is_an_array_of_its_own(tmp_path):
    images = decoded(files.write_video(tmp_path / 'a.mp4'), [3, 3, 1, 3])['imgs']
    assert np.array_equal(images[0], images[3])
    images[0][:] = 0
    assert images[1].any() and images[3].any()


@pytest.mark.parametrize(('size', 'short_side', 'shape'), [
    ((96, 64), 32, (32, 48)), ((96, 64), 80, (80, 120)), ((97, 63), 21, (21, 32)), ((64, 96), 32, (48, 32))])
def test_decode_clips__short_side_is_a_resize(size, short_side, shape, tmp_path):
    path = files.write_video(tmp_path / 'a.mp4', size=size, **SMOOTH)
    whole, small = decoded(path, [30, 3, 30]), decoded(path, [30, 3, 30], short_side=short_side)
    assert small['img_shape'] == shape
    assert small['original_shape'] == whole['original_shape'] == size[::-1]
    for image, frame in zip(small['imgs'], whole['imgs']):
        assert image.shape == (*shape, 3) and image.dtype == np.uint8
        method = Image.Resampling.BOX if short_side < min(size) else Image.Resampling.BICUBIC
        resized = np.asarray(Image.fromarray(frame).resize(shape[::-1], method)).astype(int)
        assert np.abs(image - resized).mean() < 1.2
        assert np.abs(image - np.roll(resized, 1, 1)).mean() > 2.5  # a pixel aside would show


@pytest.mark.parametrize('angle', [90, 180])
def test_decode_clips__short_side_is_of_the_picture_as_it_is_shown(angle, tmp_path):
    upright = decoded(files.write_video(tmp_path / 'a.mp4', **SMOOTH), [7], short_side=32)
    turned = decoded(files.write_video(tmp_path / 'b.mp4', rotation=angle, **SMOOTH), [7], short_side=32)
    assert np.array_equal(turned['imgs'][0], np.rot90(upright['imgs'][0], angle // 90))
    assert turned['original_shape'] == ((96, 64) if angle == 90 else (64, 96))


@pytest.mark.parametrize(('arguments', 'message'), [
    ({'decoder': 'opencv'}, "decoder must be one of .*'torchcodec'.*, got 'opencv'"),
    ({'short_side': 0}, 'short_side must be at least 1'),
    ({'short_side': 32, 'decoder': 'decord'}, "needs decoder='pyav'")])
def test_decode_clips__refuses_what_makes_no_sense(arguments, message):
    if arguments.get('decoder') == 'decord':
        pytest.importorskip('decord')
    with pytest.raises(ValueError, match=message):
        DecodeClips(**arguments)


def test_decode_clips__a_decoder_that_is_not_installed_is_told_when_it_is_built(monkeypatch):
    for name in ('decord', 'torchcodec'):
        monkeypatch.setitem(sys.modules, name, None)
        choice.OTHERS[name][0].cache_clear()
        with pytest.raises(ImportError, match=f"decoder='{name}' needs .*pip install {name}.*decoder='pyav'"):
            DecodeClips(decoder=name)
    monkeypatch.undo()
    torchcodec_module.import_torchcodec.cache_clear()


def test_read_frames__hands_over_to_pyav_and_says_why_once(tmp_path, monkeypatch, caplog):
    said = []
    monkeypatch.setattr(choice, 'print_log', lambda text, logger: said.append(text))
    choice._say_once.cache_clear()
    monkeypatch.setitem(choice.OTHERS, 'other', (None, lambda reader: f'{reader.codec} is not for it', None))
    path = files.write_video(tmp_path / 'a.avi', codec='mpeg4')
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            assert np.array_equal(read_frames(VideoReader(path), [5], 'other'), VideoReader(path).frames([5]))
    assert said == ['PyAV takes over from other: mpeg4 is not for it']


@pytest.fixture
def other(monkeypatch):
    """A decoder that would read any file, and shows grey."""
    grey = (lambda: None, lambda reader: None, lambda reader, indices: [np.full((64, 96, 3), 127, np.uint8) for _ in indices])
    monkeypatch.setitem(choice.OTHERS, 'other', grey)
    monkeypatch.setattr(choice, 'DECODERS', ('pyav', 'other'))
    choice._say_once.cache_clear()
    return 'other'


def test_read_frames__another_decoder_reads_only_what_was_checked_and_is_the_same(tmp_path, other, monkeypatch):
    path, said = files.write_video(tmp_path / 'a.mp4'), []
    monkeypatch.setattr(choice, 'print_log', lambda text, logger: said.append(text))
    reader, checked = VideoReader(path), Stamp.of(path)
    right = reader.frames([5])[0]
    assert np.array_equal(read_frames(reader, [5], other)[0], right)
    assert np.array_equal(read_frames(reader, [5], other, checked)[0], np.full_like(right, 127))
    os.utime(path, ns=(0, checked.mtime_ns + 1))
    assert np.array_equal(read_frames(reader, [5], other, checked)[0], right)
    assert [text.partition('and the file ')[2][:20] for text in said] == ['is of no list that t', 'was changed since to']


def test_decode_clips__another_decoder_reads_lists_that_were_checked_and_no_other(tmp_path, other):
    names = ['a.mp4', 'b.mp4']
    for name in names:
        files.write_video(tmp_path / name, num_frames=10)
    source, pipeline = tmp_path / 'clean.txt', [SampleClips(4, frame_interval=2), DecodeClips(other)]
    source.write_text('\n'.join(names))

    def is_grey() -> list[bool]:
        dataset = VideoList(source, pipeline, data_root=tmp_path)
        return [bool((np.stack(dataset[i]['imgs']) == 127).all()) for i in range(len(dataset))]

    assert is_grey() == [False, False]
    note_checked(source, [Stamp.of(tmp_path / name) for name in names])
    assert is_grey() == [True, True]
    (tmp_path / 'b.mp4').write_bytes((tmp_path / 'a.mp4').read_bytes())
    assert is_grey() == [True, False]
    source.write_text('\n'.join(reversed(names)))
    assert is_grey() == [False, False]


# -- LoadImage --------------------------------------------------------------------------------------------------------


def photograph(path: Path, orientation: int = 1) -> Path:
    """A JPEG of 500 x 300 (as it is stored)."""
    image = Image.fromarray(cv2.resize(files.picture(3, 50, 30), (500, 300), interpolation=cv2.INTER_CUBIC))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, quality=98, exif=exif)
    return path


@pytest.mark.parametrize('orientation', [1, 6])
@pytest.mark.parametrize(('least', 'short'), [(151, 300), (150, 150), (76, 150), (20, 38)])
def test_load_image__decodes_large_photographs_smaller(least, short, orientation, tmp_path):
    path = photograph(tmp_path / 'a.jpg', orientation)
    whole, small = (LoadImage(n)({'filename': str(path)}) for n in (None, least))
    assert small['original_shape'] == whole['original_shape'] == ((300, 500) if orientation == 1 else (500, 300))
    height, width = small['img_shape']
    assert min(height, width) == short and small['imgs'][0].shape == (height, width, 3)
    expected = np.asarray(ImageOps.contain(Image.fromarray(whole['imgs'][0]), (width, height), Image.Resampling.BOX))
    if expected.shape == small['imgs'][0].shape:
        assert np.abs(small['imgs'][0] - expected.astype(int)).mean() < 3


def test_load_image__other_files_keep_their_size(tmp_path):
    Image.fromarray(files.picture(3, 90, 70)).save(tmp_path / 'a.png')
    assert LoadImage(20)({'filename': str(tmp_path / 'a.png')})['img_shape'] == (70, 90)
    with pytest.raises(ValueError, match='min_short_side must be at least 1, got 0'):
        LoadImage(0)
