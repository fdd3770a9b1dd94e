from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import signal

import pytest
import torch

from ssvideo.datasets.token_clips import TokenClips
from ssvideo.datasets.token_store import TokenStore, TokenStoreWriter
from ssvideo.structures import PAD

MANIFEST = dict(tokenizer='abc', fps=2.0, size=(16, 24), grid=(2, 3), vocab_size=8192)
LENGTHS = {'a/first clip.mp4': 20, 'b.mp4': 3, 'ünï.mp4': 7, 'x' * 600: 5}


def video(num_frames: int) -> torch.Tensor:
    """Every token tells its frame, place and the length of its video."""
    return torch.arange(num_frames * 6).view(num_frames, 2, 3) + 100 * num_frames


@pytest.fixture
def store(tmp_path):
    writer = TokenStoreWriter(tmp_path / 'store', MANIFEST)
    for label, (name, length) in enumerate(LENGTHS.items()):
        writer.write(name, video(length), label)
    writer.close()
    return tmp_path / 'store'


def test_token_store__gives_back_what_was_written(store):
    opened = TokenStore(store)
    assert len(opened) == 4
    assert {v.name: (v.num_frames, v.label) for v in opened.videos} == {
        name: (length, label) for label, (name, length) in enumerate(LENGTHS.items())}
    for name, length in LENGTHS.items():
        assert opened.num_frames(name) == length
        wanted = [length - 1, 0, 1, 1]
        read = opened.read(name, wanted)
        assert read.dtype == torch.int64
        assert torch.equal(read, video(length)[wanted])
    assert opened.manifest['num_frames'] == 35
    assert opened.manifest['shards'] == ['shard-00000']
    with pytest.raises(KeyError, match='no.mp4'):
        opened.read('no.mp4', [0])
    with pytest.raises(IndexError):
        opened.read('b.mp4', [3])
    with pytest.raises(IndexError):
        opened.read('b.mp4', [-1])


@pytest.mark.parametrize('vocab_size', [65536, 65537])
def test_token_store__keeps_the_largest_id(tmp_path, vocab_size):
    writer = TokenStoreWriter(tmp_path, MANIFEST | dict(vocab_size=vocab_size))
    writer.write('v', torch.full((1, 2, 3), vocab_size - 1))
    writer.close()
    assert (TokenStore(tmp_path).read('v', [0]) == vocab_size - 1).all()


def test_token_store__shards_are_one_store(tmp_path):
    for shard in range(3):
        writer = TokenStoreWriter(tmp_path, MANIFEST, shard=shard)
        writer.write(f'v{shard}', video(shard + 1))
        writer.close()
    opened = TokenStore(tmp_path)
    assert opened.names == ['v0', 'v1', 'v2']
    assert all(torch.equal(opened.read(f'v{n}', range(n + 1)), video(n + 1)) for n in range(3))


def _write_until_killed(path, report) -> None:
    writer = TokenStoreWriter(path, MANIFEST)
    for n in range(1, 100000):
        writer.write(f'v{n}', video(5))
        report.send(n)


def test_token_store__survives_a_kill_and_goes_on(tmp_path):
    context = multiprocessing.get_context('fork')
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_write_until_killed, args=(tmp_path, sender))
    process.start()
    for _ in range(20):
        written = receiver.recv()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with pytest.raises(ValueError, match='no finished token store'):
        TokenStore(tmp_path)
    writer = TokenStoreWriter(tmp_path, MANIFEST)
    assert all(f'v{n}' in writer for n in range(1, written + 1))
    assert 'other' not in writer
    writer.write('other', video(2))
    num_videos = len(writer)
    writer.close()
    opened = TokenStore(tmp_path)
    assert len(opened) == num_videos == len(opened.names)
    for name in opened.names:
        length = 2 if name == 'other' else 5
        assert torch.equal(opened.read(name, range(length)), video(length))


def test_token_store__a_changed_store_has_no_manifest_until_it_is_finished(store):
    assert TokenStore(store).read('b.mp4', [0]).shape == (1, 2, 3)  # the files are open in this process
    writer = TokenStoreWriter(store, MANIFEST)
    writer.write('new', video(4))
    assert not (store / 'manifest.json').exists()
    writer.close()
    assert torch.equal(TokenStore(store).read('new', range(4)), video(4))


def test_token_store__refuses_what_does_not_fit(store, tmp_path):
    with pytest.raises(ValueError, match=r"tokenizer is 'abc', expected 'other'"):
        TokenStoreWriter(store, MANIFEST | dict(tokenizer='other'))
    with pytest.raises(ValueError, match=r"\['fps'\] are missing"):
        TokenStoreWriter(tmp_path / 'new', {k: v for k, v in MANIFEST.items() if k != 'fps'})
    writer = TokenStoreWriter(tmp_path / 'new', MANIFEST)
    for name, tokens, message in [('v', torch.zeros(1, 3, 2), r'expected \(T, 2, 3\)'), ('a\tb', video(1), 'tab'),
                                  ('v', torch.full((1, 2, 3), PAD), 'ids must lie'),
                                  ('v', torch.full((1, 2, 3), 8192), 'ids must lie')]:
        with pytest.raises(ValueError, match=message):
            writer.write(name, tokens.long())
    with pytest.raises(ValueError, match='fps is 2.0, expected 4'):
        TokenStore(store).check(dict(fps=4, grid=(2, 3)))


def _sum_of(store: TokenStore, name: str) -> int:
    return int(store.read(name, range(store.num_frames(name))).sum())


@pytest.mark.parametrize('method', ['fork', 'spawn'])
def test_token_store__serves_other_processes(store, method):
    opened = TokenStore(store)
    expected = [_sum_of(opened, name) for name in LENGTHS]  # open in the parent, before the fork
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.starmap(_sum_of, [(opened, name) for name in LENGTHS]) == expected
    assert [_sum_of(pickle.loads(pickle.dumps(opened)), name) for name in LENGTHS] == expected


def test_token_clips__are_the_stored_frames(store):
    clips = TokenClips(store, clip_len=3, num_clips=2, frame_interval=2, seed=1)
    names = [v.name for v in clips.store.videos]
    for index, name in enumerate(names):
        item = clips[index, 5]
        sample, stored = item['data_samples'], video(LENGTHS[name])
        assert sample.name == name
        assert int(sample.gt_label) == list(LENGTHS).index(name)
        for view, start in enumerate(sample.starts):
            for t, frame in enumerate(range(start, start + 6, 2)):
                expected = stored[frame] if frame < len(stored) else torch.full((2, 3), PAD)
                assert torch.equal(item['tokens'][view, t], expected)
    assert (clips[names.index('b.mp4'), 0]['tokens'][:, 2] == PAD).all()  # 3 frames do not hold 5


def test_token_clips__draws_are_functions_of_seed_stream_and_number(store):
    def starts(item, **kwargs):
        return TokenClips(store, clip_len=2, num_clips=3, **kwargs)[item]['data_samples'].starts

    index = [v.num_frames for v in TokenStore(store).videos].index(20)
    assert starts((index, 3), seed=1) == starts((index, 3), seed=1)
    drawn = {str(starts((index, draw), seed=seed, stream=stream))
             for draw in (3, 4) for seed in (1, 2) for stream in ('video', 'other')}
    assert len(drawn) == 8
    assert starts(index, seed=1) == starts((index, index), seed=1)


def test_token_clips__are_uniform_independent_and_near(store):
    clips = TokenClips(store, clip_len=3, num_clips=2)
    pairs = [tuple(clips.starts(8, random.Random(n))) for n in range(3600)]
    counts = torch.tensor([[pairs.count((i, j)) for j in range(6)] for i in range(6)])
    assert counts.sum() == 3600
    assert (counts - 100).abs().max() < 45  # 4.5 standard deviations
    near = TokenClips(store, clip_len=3, num_clips=4, max_distance=1.0)  # 2 frames at 2 FPS
    drawn = [near.starts(20, random.Random(n)) for n in range(300)]
    distances = {abs(start - starts[0]) for starts in drawn for start in starts}
    assert distances == {0, 1, 2}


def test_token_clips__test_mode_spreads_evenly(store):
    clips = TokenClips(store, clip_len=5, num_clips=4, test_mode=True)
    assert clips.starts(20, None) == [2, 6, 10, 14]
    assert clips.starts(3, None) == [0, 0, 0, 0]


def test_token_clips__labels_choose_videos(store, tmp_path):
    (tmp_path / 'list.txt').write_text('b.mp4 4\na/first clip.mp4 9\n')
    clips = TokenClips(store, clip_len=2, labels=tmp_path / 'list.txt', test_mode=True)
    assert [(clips[i]['data_samples'].name, int(clips[i]['data_samples'].gt_label)) for i in range(len(clips))] == [
        ('b.mp4', 4), ('a/first clip.mp4', 9)]
    (tmp_path / 'list.txt').write_text('b.mp4 4\nmissing.mp4 9\n')
    with pytest.raises(ValueError, match='missing.mp4'):
        TokenClips(store, clip_len=2, labels=tmp_path / 'list.txt')
    with pytest.raises(ValueError, match='fps is 2.0, expected 3'):
        TokenClips(store, clip_len=2, expect=dict(fps=3))
