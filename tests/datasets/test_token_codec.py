from __future__ import annotations

import zlib

import numpy as np
import pytest

from ssvideo.datasets.token_codec import TokenCodec


@pytest.mark.parametrize(('vocab_size', 'num_bytes'), [(8192, 2), (65536, 2), (65537, 4)])
@pytest.mark.parametrize('block_frames', [None, 1, 8, 50])
def test_codec__gives_back_any_frames(block_frames, vocab_size, num_bytes):
    codec = TokenCodec((3, 5), vocab_size, block_frames)
    assert codec.bytes_per_frame == 15 * num_bytes
    ids = np.random.default_rng(0).integers(0, vocab_size, (21, 3, 5)).astype(codec.dtype)
    ids[0, 0, 0] = vocab_size - 1
    stored = codec.encode(ids)
    for indices in (np.arange(21), np.array([20, 0, 7, 8, 8]), np.array([], np.int64)):
        np.testing.assert_array_equal(codec.read(stored, 21, indices), ids[indices])


def test_codec__reads_only_the_blocks_of_the_frames_asked_for():
    codec = TokenCodec((4, 4), 8192, 8)
    ids = np.random.default_rng(0).integers(0, 8192, (40, 4, 4)).astype('<u2')
    stored = bytearray(codec.encode(ids))
    table = np.frombuffer(stored[:24], '<u4').tolist()
    for block in (0, 3, 4):
        stored[table[block]:table[block + 1]] = bytes(table[block + 1] - table[block])
    np.testing.assert_array_equal(codec.read(bytes(stored), 40, np.arange(8, 24)), ids[8:24])
    with pytest.raises(ValueError, match='block of tokens is damaged'):
        codec.read(bytes(stored), 40, np.arange(5, 10))


def test_codec__blocks_are_zlib_with_the_ids_of_a_place_side_by_side():
    codec = TokenCodec((2, 2), 8192, 4)
    ids = np.arange(16).reshape(4, 2, 2).astype('<u2')
    first, last = np.frombuffer(codec.encode(ids)[:8], '<u4')
    plain = np.frombuffer(zlib.decompress(codec.encode(ids)[first:last]), '<u2')
    assert plain.tolist() == [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15]


def test_codec__what_stands_still_becomes_small():
    codec = TokenCodec((16, 16), 8192, 8)
    still = np.repeat(np.random.default_rng(0).integers(0, 8192, (1, 16, 16)), 80, 0).astype('<u2')
    assert len(codec.encode(still)) < 0.25 * still.nbytes


def test_codec__checksum_does_not_depend_on_the_compression():
    ids = np.random.default_rng(0).integers(0, 8192, (9, 2, 2)).astype('<u2')
    found = {TokenCodec((2, 2), 8192, block).checksum(ids) for block in (None, 4)}
    assert len(found) == 1
    ids[8, 1, 1] ^= 1
    assert TokenCodec((2, 2), 8192).checksum(ids) not in found


def test_codec__an_unknown_one_is_refused():
    with pytest.raises(ValueError, match="compression is {'codec': 'brotli'}"):
        TokenCodec.of(dict(grid=(2, 2), vocab_size=8, compression=dict(codec='brotli')))
