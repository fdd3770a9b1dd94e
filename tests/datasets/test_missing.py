"""Videos that cannot be read, in testing."""
from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope, init_default_scope
from PIL import Image
from torch.utils.data import DataLoader

from ssvideo.datasets import BrokenFileError, ImageList, ReorderedTokens, TokenClips, VideoList
from ssvideo.datasets.broken import TimedOutError
from ssvideo.datasets.missing import blank, shapes_of
from ssvideo.datasets.token_store import TokenStoreWriter
from ssvideo.structures import PAD

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import video_files as files  # noqa: E402

PACK = [dict(type='FormatShape', input_format='NCTHW'), dict(type='PackActionInputs', meta_keys=('filename',))]
PIPELINE = [dict(type='ssvideo.SampleClips', clip_len=4, frame_interval=2, num_clips=3, test_mode=True),
            dict(type='ssvideo.DecodeClips'), dict(type='Resize', scale=(-1, 32)), dict(type='ThreeCrop', crop_size=32), *PACK]


@pytest.fixture(autouse=True)
def mmaction_scope():
    init_default_scope('mmaction')
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    """A list of six labelled videos, of which the first, the third and the last are broken in their own ways."""
    root = tmp_path_factory.mktemp('videos')
    for i in (1, 3, 4):
        files.write_video(root / f'{i}.mp4', num_frames=10)
    (root / '0.mp4').write_bytes(b'')
    files.cut(root / '1.mp4', root / '2.mp4', 0.7)
    (root / 'list.txt').write_text(''.join(f'{i}.mp4 {i % 3}\n' for i in range(6)))
    return root


def test_missing__each_index_has_one_item_and_the_unreadable_ones_are_black(videos):
    dataset = VideoList(videos / 'list.txt', PIPELINE, data_root=videos, test_mode=True, on_broken='missing')
    for num_workers in (0, 2):
        items = [item for batch in DataLoader(dataset, 2, num_workers=num_workers, collate_fn=list) for item in batch]
        assert [Path(item['data_samples'].filename).name for item in items] == [f'{i}.mp4' for i in range(6)]
        assert {item['inputs'].shape for item in items} == {(9, 3, 4, 32, 32)}
        assert {item['inputs'].dtype for item in items} == {torch.uint8}
        for i, item in enumerate(items):
            sample = item['data_samples']
            assert ('missing' in sample) == (i in (0, 2, 5))
            assert bool(item['inputs'].any()) == (i not in (0, 2, 5))
            if 'missing' in sample:
                assert 'gt_label' not in sample
                assert sample.missing_label == i % 3
        assert 'No such file' in items[5]['data_samples'].missing
        assert 'InvalidDataError' in items[0]['data_samples'].missing


def test_missing__a_time_out_is_one_and_is_not_recorded(videos, tmp_path):
    def late(results):
        if results['sample_idx'] == 3:
            raise TimedOutError(results['filename'], 'more than 60 s')
        return results

    def dataset_of(on_broken):
        dataset = VideoList(videos / 'list.txt', [late, *PIPELINE], data_root=videos, test_mode=True, on_broken=on_broken)
        dataset.log_broken_to(tmp_path)
        return dataset

    assert dataset_of('missing')[3]['data_samples'].missing == 'more than 60 s'
    with pytest.raises(TimedOutError, match='3.mp4: more than 60 s'):
        dataset_of('error')[3]
    assert not list(tmp_path.iterdir())


def test_missing__where_nothing_can_be_read_it_is_an_error(tmp_path):
    (tmp_path / 'list.txt').write_text('a.mp4 0\nb.mp4 1\n')
    dataset = VideoList(tmp_path / 'list.txt', PIPELINE, test_mode=True, on_broken='missing')
    with pytest.raises(BrokenFileError, match='a.mp4: .*No such file.* nor can any of 10 other files'):
        dataset[0]


def test_missing__needs_packed_frames(videos):
    dataset = VideoList(videos / 'list.txt', PIPELINE[:2], data_root=videos, test_mode=True, on_broken='missing')
    with pytest.raises(ValueError, match="needs a pipeline that gives a tensor 'inputs', got .*'imgs'"):
        dataset[1]


def test_missing__images_too(tmp_path):
    Image.fromarray(files.picture(0, 40, 30)).save(tmp_path / 'a.png')
    files.cut(tmp_path / 'a.png', tmp_path / 'b.png', 0.5)
    dataset = ImageList(tmp_path, [dict(type='ssvideo.LoadImage'), *PACK], test_mode=True, on_broken='missing')
    assert dataset[1]['inputs'].shape == dataset[0]['inputs'].shape
    assert dataset[1]['data_samples'].filename == str(tmp_path / 'b.png')


def test_blank__has_pad_for_tokens():
    item = dict(inputs=torch.ones(1, 3, 2, 4, 4, dtype=torch.uint8), tokens=torch.ones(1, 2, 2, 2, dtype=torch.int64), more=3)
    empty = blank(shapes_of(item))
    assert (empty['tokens'] == PAD).all()
    assert not empty['inputs'].any()
    assert {key: (value.shape, value.dtype) for key, value in empty.items()} == {
        key: (item[key].shape, item[key].dtype) for key in ('inputs', 'tokens')}


@pytest.fixture
def store(tmp_path):
    """A store of two videos, and a list that has a third."""
    writer = TokenStoreWriter(tmp_path / 'store', dict(tokenizer='abc', fps=2.0, size=(16, 24), grid=(2, 3), vocab_size=16))
    for name in ('a.mp4', 'b.mp4'):
        writer.write(name, torch.arange(60).view(10, 2, 3) % 16, 0)
    writer.close()
    (tmp_path / 'list.txt').write_text('a.mp4 2\nlost.mp4 1\nb.mp4 0\n')
    return tmp_path


def test_missing__of_a_token_store(store):
    arguments = dict(store=str(store / 'store'), clip_len=4, num_clips=2, labels=store / 'list.txt', test_mode=True)
    clips = TokenClips(**arguments, on_broken='missing')
    assert [clips[i]['tokens'].shape for i in range(3)] == [(2, 4, 2, 3)] * 3
    assert (clips[1]['tokens'] == PAD).all()
    sample = clips[1]['data_samples']
    assert (sample.filename, sample.missing_label) == ('lost.mp4', 1)
    assert 'not in the token store' in sample.missing
    assert int(clips[2]['data_samples'].gt_label) == 0
    reordered = ReorderedTokens(dict(type='ssvideo.TokenClips', **arguments, on_broken='missing'), 'shuffle')
    assert 'missing' in reordered[1]['data_samples']
    assert reordered.on_broken == 'missing'
    with pytest.raises(ValueError, match='1 of the 3 videos of .* are not in'):
        TokenClips(**arguments)
    with pytest.raises(ValueError, match="'missing' with test_mode=True"):
        TokenClips(**dict(arguments, test_mode=False), on_broken='missing')
