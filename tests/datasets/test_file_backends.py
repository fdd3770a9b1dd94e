from __future__ import annotations

import gc
import glob
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from mmengine.fileio.backends import BaseStorageBackend, HTTPBackend, backends, prefix_to_backends, register_backend
from PIL import Image

from ssvideo.datasets import BrokenFileError
from ssvideo.datasets.decoders import VideoReader
from ssvideo.datasets.file_backends import is_local, local_copy
from ssvideo.datasets.transforms import DecodeClips, LoadImage, SampleClips

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import video_files as files  # noqa: E402


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A backend 'shelf' with the one method that every backend has, for addresses ``shelf://``; temporary files are here."""
    kept, fetched = {}, []

    class Shelf(BaseStorageBackend):
        def __init__(self, root='shelf://'):
            self.root = root

        def get(self, filepath):
            fetched.append(filepath)
            return kept[filepath.removeprefix(self.root)]

        def get_text(self, filepath):
            raise NotImplementedError

    register_backend('shelf', Shelf, prefixes='shelf')
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'temporary'))
    os.mkdir(tempfile.tempdir)
    kept['a.mp4'] = files.write_video(tmp_path / 'a.mp4', options={'g': '6'}).read_bytes()
    Image.new('RGB', (9, 5), (10, 20, 30)).save(tmp_path / 'a.png')
    kept['a.png'] = (tmp_path / 'a.png').read_bytes()
    kept['cut.mp4'] = kept['a.mp4'][:999]
    yield kept, fetched
    del backends['shelf'], prefix_to_backends['shelf']


def copies() -> list[str]:
    gc.collect()
    return glob.glob(os.path.join(tempfile.tempdir, '*'))


def test_video_reader__reads_through_a_backend_and_leaves_nothing_behind(store, tmp_path):
    local, remote = VideoReader(tmp_path / 'a.mp4'), VideoReader('shelf://a.mp4')
    assert remote.path == 'shelf://a.mp4'
    assert np.array_equal(remote.times, local.times)
    assert len(copies()) == 1 and copies()[0].endswith('.mp4')
    for _ in range(2):  # closed and opened again, but got once
        assert np.array_equal(remote.frames([30, 3]), local.frames([30, 3]))
        remote.close()
    assert store[1] == ['shelf://a.mp4']
    del remote
    assert not copies()


def test_decode_clips__reads_through_the_backend_that_the_results_name(store, tmp_path):
    args = dict(backend='shelf', root='/shelf/')
    pipeline = SampleClips(4, frame_interval=2, test_mode=True), DecodeClips()
    results, local = {'filename': '/shelf/a.mp4', 'backend_args': args}, {'filename': str(tmp_path / 'a.mp4')}
    for transform in pipeline:
        results, local = transform(results), transform(local)
    assert np.array_equal(results['imgs'], local['imgs'])
    assert not copies()


def test_load_image__reads_through_a_backend(store):
    assert LoadImage()({'filename': 'shelf://a.png'})['imgs'][0].tolist() == [[[10, 20, 30]] * 9] * 5
    assert not copies()


@pytest.mark.parametrize(('name', 'reason'), [('none.mp4', 'KeyError'), ('cut.mp4', 'Error')])
def test_video_reader__an_error_behind_a_backend_names_the_address(store, name, reason):
    with pytest.raises(BrokenFileError, match=reason) as caught:
        VideoReader(f'shelf://{name}')
    assert caught.value.path == f'shelf://{name}'
    del caught
    assert not copies()


def test_local_copy__a_prefix_of_mmengine_chooses_its_backend(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(HTTPBackend, 'get', lambda self, path: asked.append(path) or b'content')
    with local_copy('https://example.org/a.mp4?from=http://b') as path:
        assert Path(path).read_bytes() == b'content'
    assert asked == ['https://example.org/a.mp4?from=http://b']
    assert not Path(path).exists()


@pytest.mark.parametrize(('path', 'backend_args', 'local'), [
    ('/data/http: a name', None, True), ('a://b.mp4', None, True), ('dir/s3://b.mp4', None, True), ('s3://b.mp4', None, False),
    ('cluster:s3://b.mp4', None, False), ('b.mp4', dict(backend='local'), True), ('b.mp4', dict(backend='petrel'), False)])
def test_is_local__only_a_known_prefix_or_a_named_backend_is_elsewhere(path, backend_args, local):
    assert is_local(path, backend_args) == local


def test_local_copy__refuses_a_backend_that_does_not_exist():
    with pytest.raises(ValueError, match="no backend 'petral', mmengine has .*'petrel'"), local_copy('a', dict(backend='petral')):
        pass
