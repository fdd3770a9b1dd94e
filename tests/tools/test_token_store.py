from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from ssvideo.datasets.token_codec import ZLIB
from ssvideo.datasets.token_store import TokenStore, TokenStoreWriter

TOOL = Path(__file__).parents[2] / 'tools' / 'token_store.py'
MANIFEST = dict(tokenizer='abc', fps=2.0, size=(16, 24), grid=(2, 3), vocab_size=8192)


def run(*args) -> None:
    """The tool, in this process."""
    sys.path.insert(0, str(TOOL.parent))
    try:
        import token_store
    finally:
        sys.path.remove(str(TOOL.parent))
    token_store.main([*map(str, args)])


def video(number: int) -> torch.Tensor:
    return torch.randint(8192, (100 + number, 2, 3), generator=torch.Generator().manual_seed(number))


def write(folder: Path, numbers, **manifest) -> Path:
    """Video ``v<n>`` has 100 + n frames and the label n."""
    writer = TokenStoreWriter(folder, MANIFEST | manifest)
    for number in numbers:
        writer.write(f'v{number}', video(number), number)
    writer.close()
    return folder


def flip_a_bit(file: Path, position: int) -> None:
    data = bytearray(file.read_bytes())
    data[position] ^= 1
    file.write_bytes(data)


def test_info__names_settings_and_counts_of_every_view(tmp_path, capsys):
    for view in ('256_center', '320_center'):
        write(tmp_path / view, range(3), short_side=int(view[:3]), compression=ZLIB)
    run('info', tmp_path)
    said = capsys.readouterr().out
    for part in ('256_center', 'short_side: 320', 'num_videos: 3', 'num_frames: 303', "'codec': 'zlib'", 'shards: 1', 'version'):
        assert part in said


def test_info__of_no_store_is_an_error_in_one_line(tmp_path):
    with pytest.raises(SystemExit, match='error: .*no finished token store'):
        run('info', tmp_path / 'none')


@pytest.mark.parametrize('compression', [None, ZLIB])
def test_verify__finds_exactly_the_damaged_videos(tmp_path, capsys, compression):
    write(tmp_path, range(4), compression=compression)
    run('verify', tmp_path, '--workers', 1)
    assert 'all 4 videos are whole' in capsys.readouterr().out
    index = TokenStore(tmp_path).videos
    for name, position in (('v1', 700), ('v3', 0)):
        flip_a_bit(tmp_path / 'shard-00000' / 'tokens.bin', index.row(index.find(name)).offset + position)
    with pytest.raises(SystemExit) as error:
        run('verify', tmp_path, '--workers', 1)
    said = str(error.value)
    assert said.startswith(f'error: 2 videos of {tmp_path} are damaged')
    assert 'v1' in said and 'v3' in said and 'v0' not in said and 'v2' not in said


def test_verify__finds_an_index_that_is_not_its_shard(tmp_path):
    write(tmp_path, range(3))
    manifest = tmp_path / 'manifest.json'
    text = manifest.read_text()
    writer = TokenStoreWriter(tmp_path, MANIFEST)
    writer.write('v1', video(8), 1)
    writer.close(finish=False)
    manifest.write_text(text)  # as if the writer had forgotten to take it away
    with pytest.raises(SystemExit, match='v1: shard-00000/data.mdb and the index differ'):
        run('verify', tmp_path, '--workers', 1)


@pytest.mark.parametrize('name', ['data.mdb', 'tokens.bin'])
def test_verify__a_truncated_file_is_one_clear_message(tmp_path, name):
    write(tmp_path, range(4))
    file = tmp_path / 'shard-00000' / name
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(SystemExit, match=rf'error: \S+{name} is truncated: it has \d+ of \d+ bytes. Copy it again'):
        run('verify', tmp_path, '--workers', 1)


def test_merge__makes_one_store_and_goes_on_where_it_was(tmp_path, capsys):
    write(tmp_path / 'a', (0, 1, 4), compression=ZLIB)
    write(tmp_path / 'b', (1, 2), compression=ZLIB)
    begun = TokenStoreWriter(tmp_path / 'out', MANIFEST | dict(compression=ZLIB))
    begun.write('v4', video(4), 4)
    begun.close(finish=False)
    run('merge', tmp_path / 'a', tmp_path / 'b', '--out', tmp_path / 'out')
    assert f'4 videos are in {tmp_path / "out"}' in capsys.readouterr().out
    merged = TokenStore(tmp_path / 'out')
    assert [tuple(v) for v in merged.videos] == [(f'v{n}', 100 + n, n) for n in (0, 1, 2, 4)]
    assert all(torch.equal(merged.read(f'v{n}', range(100 + n)), video(n)) for n in (0, 1, 2, 4))
    size = sum(merged.manifest['shards'][0]['sizes'].values())
    run('merge', tmp_path / 'a', tmp_path / 'b', '--out', tmp_path / 'out')
    assert sum(TokenStore(tmp_path / 'out').manifest['shards'][0]['sizes'].values()) == size, 'nothing is stored twice'


def test_merge__refuses_what_differs_before_it_writes(tmp_path):
    a = write(tmp_path / 'a', (0, 1))
    for name, numbers, manifest, message in [('fps', (2,), dict(fps=4), 'fps is 4, expected 2.0'),
                                             ('crop', (2,), dict(crop='top_left'), 'b/crop cannot be merged'),
                                             ('zlib', (2,), dict(compression=ZLIB), 'compression is')]:
        b = write(tmp_path / 'b' / name, numbers, **manifest)
        with pytest.raises(SystemExit, match=message):
            run('merge', a, b, '--out', tmp_path / 'out')
    writer = TokenStoreWriter(tmp_path / 'c', MANIFEST)
    writer.write('v1', video(3), 1)
    writer.close()
    with pytest.raises(SystemExit, match="different tokens or labels of 'v1'"):
        run('merge', a, tmp_path / 'c', '--out', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
