from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from ssvideo.datasets.token_codec import ZLIB
from ssvideo.datasets.token_store import TokenStore, TokenStoreWriter
from ssvideo.datasets.token_writer import finish_store, stored_names
from ssvideo.structures import PAD

MANIFEST = dict(tokenizer='abc', fps=2.0, size=(16, 24), grid=(2, 3), vocab_size=8192)
LENGTHS = {'a/first clip.mp4': 20, 'b.mp4': 3, 'with\ttab.mp4': 4, 'x' * 600: 5, 'ünï.mp4': 7}


def video(num_frames: int) -> torch.Tensor:
    """Every token tells its frame, place and the length of its video."""
    return torch.arange(num_frames * 6).view(num_frames, 2, 3) + 100 * num_frames


@pytest.fixture(params=[None, ZLIB], ids=['plain', 'compressed'])
def store(request, tmp_path):
    writer = TokenStoreWriter(tmp_path / 'store', MANIFEST | dict(compression=request.param))
    for label, (name, length) in enumerate(LENGTHS.items()):
        writer.write(name, video(length), label)
    writer.close()
    return tmp_path / 'store'


def test_token_store__gives_back_what_was_written(store):
    opened = TokenStore(store)
    assert len(opened) == 5
    assert [tuple(video) for video in opened.videos] == [  # in the order of the names
        (name, length, label) for label, (name, length) in enumerate(LENGTHS.items())]
    assert [opened.videos.find(name) for name in LENGTHS] == list(range(5))
    assert 'b.mp4' in opened and 'no.mp4' not in opened
    for name, length in LENGTHS.items():
        assert opened.num_frames(name) == length
        wanted = [length - 1, 0, 1, 1]
        read = opened.read(name, wanted)
        assert read.dtype == torch.int64
        assert torch.equal(read, video(length)[wanted])
        assert torch.equal(opened.read(opened.videos.find(name), range(length)), video(length))
    assert opened.manifest['num_frames'] == 39
    assert [shard['name'] for shard in opened.manifest['shards']] == ['shard-00000']
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
    writer = TokenStoreWriter(store, MANIFEST | dict(compression=TokenStore(store).manifest['compression']))
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
    for name, tokens, message in [('v', torch.zeros(1, 3, 2), r'expected \(T, 2, 3\)'), ('', video(1), 'empty name'),
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


def test_token_store__order_does_not_depend_on_shards(tmp_path):
    for folder, shards in (('one', [0] * 6), ('three', [2, 0, 1, 1, 0, 2])):
        for number, shard in enumerate(shards):
            writer = TokenStoreWriter(tmp_path / folder, MANIFEST, shard)
            writer.write(f'v{number * 5 % 6}', video(number + 1), number)
            writer.close(finish=number == 5)
    one, three = TokenStore(tmp_path / 'one'), TokenStore(tmp_path / 'three')
    assert list(one.videos) == list(three.videos)
    assert one.manifest['videos'] == three.manifest['videos']
    assert stored_names(tmp_path / 'three') == {f'v{n}'.encode() for n in range(6)}


def test_token_store__one_video_in_two_shards_counts_once_if_it_is_the_same(tmp_path):
    for shard in range(2):
        writer = TokenStoreWriter(tmp_path, MANIFEST, shard)
        writer.write('v', video(3), 1)
        writer.close()
    assert TokenStore(tmp_path).names == ['v']
    writer = TokenStoreWriter(tmp_path, MANIFEST, 2)
    writer.write('v', video(4), 1)
    with pytest.raises(ValueError, match="'v' has different tokens"):
        writer.close()
    with pytest.raises(ValueError, match='no finished token store'):
        TokenStore(tmp_path)


def test_token_store__refuses_shards_of_different_settings(tmp_path):
    for shard, fps in enumerate((2, 3)):
        TokenStoreWriter(tmp_path, MANIFEST | dict(fps=fps), shard).close(finish=False)
    with pytest.raises(ValueError, match='fps is 3, expected 2'):
        finish_store(tmp_path)


def _open_writer(path, report) -> None:
    try:
        TokenStoreWriter(path, MANIFEST)
        report.send('opened')
    except ValueError as error:
        report.send(str(error))


def test_token_store__a_shard_has_one_writer_at_a_time(tmp_path):
    writer = TokenStoreWriter(tmp_path, MANIFEST)
    context = multiprocessing.get_context('fork')
    for expected in ('another process is writing', 'opened'):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_open_writer, args=(tmp_path, sender))
        process.start()
        assert expected in receiver.recv()
        process.join()
        writer.close(finish=False)


@pytest.mark.parametrize('name', ['data.mdb', 'tokens.bin'])
@pytest.mark.parametrize('share', [0, 0.001, 0.5, 0.99])
def test_token_store__a_truncated_shard_is_told_in_words(store, name, share):
    file = store / 'shard-00000' / name
    compression = TokenStore(store).manifest['compression']
    os.truncate(file, int(file.stat().st_size * share))
    with pytest.raises(ValueError, match=rf'{name} is truncated: it has \d+ of \d+ bytes'):
        TokenStore(store)
    if share or name == 'tokens.bin':  # an empty data.mdb is a new shard to a writer: what it held is extracted again
        with pytest.raises(ValueError, match=f'{name} is (truncated|damaged)'):
            TokenStoreWriter(store, MANIFEST | dict(compression=compression))


def _resident_kb() -> int:
    """Memory of this process that shows pages of a shard."""
    total, counts = 0, False
    for line in Path('/proc/self/smaps').read_text().splitlines():
        if '-' in line.split()[0]:
            counts = line.endswith('tokens.bin')
        elif counts and line.startswith('Rss:'):
            total += int(line.split()[1])
    return total


def _read_one_clip(path, report) -> None:
    store = TokenStore(path)
    store.read('small', [0])
    before = _resident_kb()
    store.read('large', range(1000, 1005))
    report.send(_resident_kb() - before)


@pytest.mark.parametrize('compression', [None, ZLIB])
def test_token_store__a_clip_touches_its_own_pages(tmp_path, compression):
    writer = TokenStoreWriter(tmp_path, MANIFEST | dict(grid=(32, 32), compression=compression))
    writer.write('large', torch.from_numpy(np.random.default_rng(0).integers(0, 8192, (4000, 32, 32))))
    writer.write('small', torch.zeros(1, 32, 32, dtype=torch.int64))
    writer.close()
    file = os.open(tmp_path / 'shard-00000' / 'tokens.bin', os.O_RDONLY)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)  # what is in memory afterwards has been read from the disk
    assert os.fstat(file).st_size > 6_000_000
    os.close(file)
    context = multiprocessing.get_context('fork')
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_read_one_clip, args=(tmp_path, sender))
    process.start()
    process.join()
    assert 0 < receiver.recv() < 500


def test_token_store__opening_takes_no_memory_for_videos(tmp_path):
    writer = TokenStoreWriter(tmp_path, MANIFEST)
    for number in range(300):
        writer.write(f'v{number}', video(1))
    writer.close()
    index = TokenStore(tmp_path).videos
    for array in (index.rows, index.hashes):
        while not isinstance(array, np.memmap):
            assert array.base is not None, 'a copy'
            array = array.base
    assert len(pickle.dumps(TokenStore(tmp_path))) < 3000
