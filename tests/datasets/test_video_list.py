from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope, init_default_scope
from PIL import Image
from torch.utils.data import DataLoader

from ssvideo.datasets import BrokenFileError, BrokenLog, DrawSampler, ImageList, VideoList
from ssvideo.datasets.entries import Entries, read_list
from ssvideo.registry import DATASETS

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import video_files as files  # noqa: E402

PIPELINE = [{'type': 'ssvideo.SampleClips', 'clip_len': 4, 'frame_interval': 2, 'num_clips': 2},
            {'type': 'ssvideo.DecodeClips'}, {'type': 'Resize', 'scale': (-1, 48)}, {'type': 'RandomCrop', 'size': 32},
            {'type': 'Flip', 'flip_ratio': 0.5}, {'type': 'FormatShape', 'input_format': 'NCTHW'},
            {'type': 'PackActionInputs', 'meta_keys': ('filename', 'frame_inds')}]


@pytest.fixture(autouse=True)
def mmaction_scope():
    init_default_scope('mmaction')
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Twelve videos in two class folders, of different pictures."""
    root = tmp_path_factory.mktemp('videos')
    for i in range(12):
        name = root / ('walk' if i % 2 else 'run a mile') / f'clip {i:02d}.mp4'
        name.parent.mkdir(exist_ok=True)
        files.write_video(name, num_frames=14 + i, options={'g': '6'})
    return root


def same(a, b) -> bool:
    return torch.equal(a['inputs'], b['inputs']) and a['data_samples'].filename == b['data_samples'].filename


# -- what a source holds ----------------------------------------------------------------------------------------------


def paths_and_labels(entries: Entries) -> list:
    return [(entries.path(i), entries.label(i)) for i in range(len(entries))]


def test_read_list__finds_out_about_labels_and_keeps_blanks_in_paths(tmp_path):
    (tmp_path / 'a.txt').write_bytes('\ufeffmy clip 1.mp4 3\n\n #2 ä.mp4  0 \r\n'.encode())
    assert paths_and_labels(read_list(tmp_path / 'a.txt')) == [('my clip 1.mp4', 3), ('#2 ä.mp4', 0)]
    (tmp_path / 'b.txt').write_text('my clip 1.mp4\nb.mp4\n')
    assert paths_and_labels(read_list(tmp_path / 'b.txt')) == [('my clip 1.mp4', None), ('b.mp4', None)]
    (tmp_path / 'c.txt').write_text('take 1\ntake 2\n')
    assert paths_and_labels(read_list(tmp_path / 'c.txt', labels=False)) == [('take 1', None), ('take 2', None)]
    (tmp_path / 'd.txt').write_text('a, b.mp4, 5\n')
    assert paths_and_labels(read_list(tmp_path / 'd.txt', delimiter=',')) == [('a, b.mp4', 5)]


def test_read_list__keeps_names_that_are_not_utf8(tmp_path):
    (tmp_path / 'a.txt').write_bytes(b'caf\xe9.mp4 1\n')
    path = read_list(tmp_path / 'a.txt').path(0)
    assert path.encode('utf-8', 'surrogateescape') == b'caf\xe9.mp4'


@pytest.mark.parametrize('labels', [None, True])
def test_read_list__names_the_line_without_a_label(labels, tmp_path):
    (tmp_path / 'a.txt').write_text('a.mp4 1\n\nb.mp4 x\n')
    with pytest.raises(ValueError, match="a.txt, line 3: 'b.mp4 x' does not end with ' ' and a label"):
        read_list(tmp_path / 'a.txt', labels)


def test_read_list__many_entries_are_found_again_and_pickle_small(tmp_path):
    count = 300_000
    lines = (f'class {i % 400}/video number {i}.mp4 {i % 400}\n' for i in range(count))
    (tmp_path / 'a.txt').write_text(''.join(lines))
    entries = read_list(tmp_path / 'a.txt')
    assert (entries.path(299_999), entries.label(299_999)) == ('class 399/video number 299999.mp4', 399)
    assert len(pickle.dumps(entries)) < count * 50


def test_video_list__labels_class_folders_by_name(folder):
    dataset = VideoList(folder, [])
    assert dataset.metainfo == {'classes': ('run a mile', 'walk')}
    assert [dataset.describe(i)['label'] for i in range(12)] == [0] * 6 + [1] * 6
    assert dataset.describe(6)['filename'] == str(folder / 'walk' / 'clip 01.mp4')
    assert VideoList(folder, [], class_names=['walk', 'run a mile']).describe(0)['label'] == 1


def test_video_list__a_folder_without_classes_has_no_labels(folder):
    assert 'label' not in VideoList(folder, [], labels=False).describe(0)
    assert 'label' not in VideoList(folder / 'walk', []).describe(0)
    assert len(VideoList(folder / 'walk', [])) == 6


@pytest.mark.parametrize(('arguments', 'message'), [
    ({'class_names': ['walk']}, "sub-folder 'run a mile' is not in class_names"),
    ({'num_classes': 1}, r'label 1 of walk/clip 01.mp4, but there are 1 classes \(0 to 0\)'),
])
def test_video_list__refuses_labels_that_do_not_fit(folder, arguments, message):
    with pytest.raises(ValueError, match=message):
        VideoList(folder, [], **arguments)


def test_video_list__refuses_a_source_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match='neither a file nor a folder'):
        VideoList(tmp_path / 'none', [])
    with pytest.raises(ValueError, match='holds no .*.mp4'):
        VideoList(tmp_path, [])
    (tmp_path / 'a.mp4').touch()
    with pytest.raises(ValueError, match='a.mp4 lies outside of one'):
        VideoList(tmp_path, [], labels=True)
    with pytest.raises(TypeError, match='pipelin'):
        DATASETS.build({'type': 'ssvideo.VideoList', 'source': str(tmp_path), 'pipelin': []})


# -- items ------------------------------------------------------------------------------------------------------------


def test_video_list__gives_views_of_one_video_as_mmaction_packs_them(folder):
    item = VideoList(folder, PIPELINE)[(7, 100)]
    assert item['inputs'].shape == (2, 3, 4, 32, 32)
    assert item['inputs'].dtype == torch.uint8
    assert item['data_samples'].gt_label.item() == 1
    assert not torch.equal(item['inputs'][0], item['inputs'][1])


def test_video_list__views_hold_the_frames_that_were_chosen(folder):
    pipeline = [*PIPELINE[:2], *PIPELINE[-2:]]
    item = VideoList(folder, pipeline)[(7, 100)]
    chosen = item['data_samples'].frame_inds.reshape(2, 4)
    frames = files.sequential_decode(item['data_samples'].filename)[1]
    for view, indices in zip(item['inputs'], chosen):
        assert np.array_equal(view.permute(1, 2, 3, 0).numpy(), np.stack([frames[i] for i in indices]))


def test_video_list__an_item_is_a_function_of_seed_stream_and_draw(folder):
    first = VideoList(folder, PIPELINE, seed=5)[(3, 40)]
    np.random.seed(99)
    before = np.random.get_state()[1].copy()
    again = VideoList(folder, PIPELINE, seed=5)[(3, 40)]
    assert same(first, again)
    assert np.array_equal(before, np.random.get_state()[1])
    for other in (VideoList(folder, PIPELINE, seed=5)[(3, 41)], VideoList(folder, PIPELINE, seed=6)[(3, 40)],
                  VideoList(folder, PIPELINE, seed=5, stream='other')[(3, 40)]):
        assert not torch.equal(first['inputs'], other['inputs'])


@pytest.mark.parametrize('persistent', [False, True])
def test_video_list__workers_do_not_matter(folder, persistent):
    def epochs(num_workers):
        dataset = VideoList(folder, PIPELINE)
        sampler = DrawSampler(dataset, seed=3)
        loader = DataLoader(dataset, 5, sampler=sampler, num_workers=num_workers, collate_fn=list,
                            persistent_workers=persistent and num_workers > 0)
        for epoch in range(2):
            sampler.set_epoch(epoch)
            yield from (item for batch in loader for item in batch)

    alone, shared = list(epochs(0)), list(epochs(2))
    assert len(alone) == 24
    assert all(map(same, alone, shared))
    assert len({tuple(i['data_samples'].frame_inds) for i in alone[:12]} & {
        tuple(i['data_samples'].frame_inds) for i in alone[12:]}) < 6  # a second epoch is not the first again


def test_draw_sampler__gives_the_data_set_the_seed_of_the_run(folder):
    dataset = VideoList(folder, PIPELINE)
    DrawSampler(dataset, seed=17)
    assert dataset.seed == 17
    chosen = VideoList(folder, PIPELINE, seed=4)
    DrawSampler(chosen, seed=17)
    assert chosen.seed == 4


# -- broken files -----------------------------------------------------------------------------------------------------


@pytest.fixture
def half_broken(folder, tmp_path):
    """A list of six good and four broken videos."""
    good = sorted(folder.glob('walk/*.mp4'))
    bad = [tmp_path / f'bad {i}.mp4' for i in range(4)]
    bad[1].write_bytes(b'')
    bad[2].write_text('no video')
    files.cut(good[0], bad[3], 0.5)
    (tmp_path / 'list.txt').write_text('\n'.join(map(str, [*good, *bad])))
    return tmp_path / 'list.txt', {str(p) for p in bad}


def test_video_list__replaces_a_broken_video_by_a_function_of_the_draw_and_lists_it_once(half_broken, tmp_path):
    source, bad = half_broken

    def draw(num_workers, log):
        dataset = VideoList(source, PIPELINE, broken_log=log, max_broken_share=0.9)
        loader = DataLoader(dataset, 4, sampler=DrawSampler(dataset, seed=0), num_workers=num_workers, collate_fn=list)
        return [item for _ in range(3) for batch in loader for item in batch]

    alone = draw(0, tmp_path / 'x')
    assert all(map(same, alone, draw(2, tmp_path / 'y')))
    assert not bad & {item['data_samples'].filename for item in alone}
    for log in ('x', 'y'):
        lines = [json.loads(line) for line in (tmp_path / log / 'broken_videos.jsonl').read_text().splitlines()]
        assert sorted(line['path'] for line in lines) == sorted(bad)
        assert all(line['reason'] for line in lines)


def test_video_list__a_broken_video_is_an_error_in_testing(half_broken, tmp_path):
    dataset = VideoList(half_broken[0], PIPELINE, test_mode=True, broken_log=tmp_path)
    with pytest.raises(BrokenFileError, match='bad 2.mp4: InvalidDataError'):
        dataset[8]
    loader = DataLoader(dataset, 1, sampler=[8], num_workers=1)
    with pytest.raises(BrokenFileError, match='bad 2.mp4: InvalidDataError'):
        next(iter(loader))
    assert not (tmp_path / 'broken_videos.jsonl').exists()


def test_video_list__stops_where_too_many_are_broken(half_broken):
    dataset = VideoList(half_broken[0], PIPELINE[:1], max_broken_share=0.2)
    with pytest.raises(BrokenFileError, match='of .* files drawn cannot be read, more than max_broken_share=0.2'):
        for draw in range(200):
            dataset[(draw % 10, draw)]


def test_video_list__stops_where_all_are_broken(tmp_path):
    (tmp_path / 'list.txt').write_text('a.mp4\nb.mp4\n')
    with pytest.raises(BrokenFileError, match='4 files drawn in a row cannot be read, the last: .*No such file'):
        VideoList(tmp_path / 'list.txt', PIPELINE, max_attempts=4)[(0, 0)]


def test_video_list__a_fault_of_the_pipeline_is_not_a_broken_video(folder):
    def faulty(results):
        raise KeyError('imgs')

    with pytest.raises(KeyError):
        VideoList(folder, [faulty])[(0, 0)]


def test_broken_log__survives_a_line_cut_by_a_kill(tmp_path):
    log = tmp_path / 'broken.jsonl'
    log.write_text('{"path": "a.mp4", "reason": "x"}\n{"path": "b.m')
    writer = BrokenLog(log)
    for path in ('a.mp4', 'b.mp4', 'b.mp4'):
        writer.add(path, 'y')
    BrokenLog(log).add('b.mp4', 'z')
    lines = log.read_text().splitlines()
    assert [json.loads(line)['path'] for line in (lines[0], *lines[2:])] == ['a.mp4', 'b.mp4']


# -- images -----------------------------------------------------------------------------------------------------------


def test_image_list__reads_what_is_there_and_replaces_a_cut_image(tmp_path):
    for i in range(3):
        Image.fromarray(files.picture(i, 70, 50)).save(tmp_path / f'{i}.png')
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees to the right
    Image.fromarray(files.picture(3, 70, 50)).save(tmp_path / '3.jpg', exif=exif, quality=100)
    files.cut(tmp_path / '3.jpg', tmp_path / '4.jpg', 0.6)
    Image.fromarray(files.picture(5, 70, 50)[..., 0]).save(tmp_path / '5.png')
    pipeline = [{'type': 'ssvideo.LoadImage'}, {'type': 'FormatShape', 'input_format': 'NCTHW'},
                {'type': 'PackActionInputs', 'meta_keys': ('filename',)}]
    dataset = ImageList(tmp_path, pipeline, broken_log=tmp_path)
    items = [dataset[(i, i)] for i in range(6)]
    for i in range(3):
        assert np.array_equal(items[i]['inputs'][0, :, 0].permute(1, 2, 0), files.picture(i, 70, 50))
    turned = np.rot90(files.picture(3, 70, 50), -1)
    assert np.abs(items[3]['inputs'][0, :, 0].permute(1, 2, 0).numpy().astype(int) - turned).mean() < 12
    assert np.array_equal(items[5]['inputs'][0, 2, 0], files.picture(5, 70, 50)[..., 0])
    assert Path(items[4]['data_samples'].filename).name != '4.jpg'
    assert json.loads((tmp_path / 'broken_images.jsonl').read_text())['path'].endswith('4.jpg')


def test_video_list__frames_as_images(folder):
    pipeline = [{'type': 'ssvideo.SampleClips', 'clip_len': 1}, *PIPELINE[1:]]
    dataset = VideoList(folder, pipeline, stream='image')
    assert dataset[(0, 0)]['inputs'].shape == (1, 3, 1, 32, 32)
    assert len({dataset[(0, draw)]['data_samples'].frame_inds[0] for draw in range(20)}) > 5
