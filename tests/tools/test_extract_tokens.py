from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope

from ssvideo.datasets import whole_videos
from ssvideo.datasets.synthetic_motion import MotionSettings, make_motion_dataset
from ssvideo.datasets.token_clips import TokenClips
from ssvideo.datasets.token_codec import ZLIB
from ssvideo.datasets.token_manifest import view_folders
from ssvideo.datasets.token_shard import records_of, shard_folders
from ssvideo.datasets.token_store import TokenStore
from ssvideo.datasets.token_writer import stored_names
from ssvideo.models.layers.dalle_blocks import DalleEncoder
from ssvideo.models.tokenizers import DalleTokenizer
from ssvideo.models.tokenizers.dalle_checkpoint import save_dalle
from ssvideo.registry import DATASETS
from tests.video_files import write_video

TOOL = Path(__file__).parents[2] / 'tools' / 'extract_tokens.py'
CONFIG = """
custom_imports = dict(imports=['ssvideo'])
default_scope = 'mmaction'
tokenizer = dict(type='ssvideo.DalleTokenizer', checkpoint='{folder}/dalle.safetensors', frames_per_chunk=4)
dataset = dict(
    type='ssvideo.VideoList', source='{folder}/list.txt', data_root='{folder}', test_mode=True, pipeline=[
        dict(type='ssvideo.SampleWholeVideo', fps=10),
        dict(type='ssvideo.DecodeClips'),
        dict(type='Resize', scale=(-1, 32)),
        dict(type='CenterCrop', crop_size=32),
        dict(type='FormatShape', input_format='NCTHW'),
        dict(type='PackActionInputs')])
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    torch.manual_seed(0)
    save_dalle(tmp_path / 'dalle.safetensors', DalleEncoder(8, 1, 50))
    lines = []
    for n in range(6):
        write_video(tmp_path / f'clip {n}.mp4', num_frames=10 + 7 * n)
        lines.append(f'clip {n}.mp4 {n % 3}')
    (tmp_path / 'broken.mp4').write_bytes(b'no video at all')
    (tmp_path / 'list.txt').write_text('\n'.join([*lines[:2], 'broken.mp4 1', *lines[2:]]) + '\n')
    (tmp_path / 'config.py').write_text(CONFIG.format(folder=tmp_path))
    return tmp_path


def content(store: TokenStore) -> dict:
    return {v.name: (v.label, store.read(v.name, range(v.num_frames)).tolist()) for v in store.videos}


def expected_content(folder: Path) -> dict:
    """What the store must hold, by the plain way: each video decoded and tokenized alone."""
    init_default_scope('mmaction')
    namespace = {}
    exec((folder / 'config.py').read_text(), namespace)  # our own file, above
    videos = DATASETS.build(namespace['dataset'])
    tokenizer = DalleTokenizer(folder / 'dalle.safetensors', frames_per_chunk=4)
    return {f'clip {n}.mp4': (n % 3, tokenizer(videos[n + (n > 1)]['inputs'] / 255)[0].tolist()) for n in range(6)}


def run(args: list) -> None:
    """The tool, in this process."""
    sys.path.insert(0, str(TOOL.parent))
    try:
        import extract_tokens
    finally:
        sys.path.remove(str(TOOL.parent))
    extract_tokens.main([*map(str, args)])


def test_extract_tokens__two_processes_make_what_the_plain_way_makes(folder):
    done = subprocess.run(['bash', str(TOOL.parent / 'dist_extract_tokens.sh'), str(folder / 'config.py'), '2', '--out',
                           str(folder / 'tokens'), '--workers', '1', '--compress', '--device', 'cpu'], capture_output=True,
                          text=True, timeout=900, env=os.environ | dict(PYTHON=sys.executable, PORT='29617', OMP_NUM_THREADS='1'))
    assert done.returncode == 0, done.stderr
    first, *_, last = done.stdout.strip().splitlines()
    # videos of 10, 17, 24, 31, 38 and 45 frames at 25 a second have 4, 7, 10, 13, 16 and 18 at 10 a second: 11.33
    assert first.startswith('expected: 7 videos x 11.3 frames (mean of up to 32) x 4 x 4 ids x 2 bytes = 2.54 kB before')
    assert last.startswith('6 videos are in') and '(6 of them new); 1 failed' in last
    store = TokenStore(folder / 'tokens')
    assert content(store) == expected_content(folder)
    wanted = dict(fps=10, size=[32, 32], grid=[4, 4], vocab_size=50, short_side=32, crop='center', flip=False, num_videos=6,
                  compression=ZLIB, num_frames=sum(v.num_frames for v in store.videos))
    assert {key: store.manifest[key] for key in wanted} == wanted
    assert len(store.manifest['shards']) == 2
    [failure] = [json.loads(line) for line in (folder / 'tokens' / 'failed.jsonl').read_text().splitlines()]
    assert failure['path'] == 'broken.mp4'
    assert failure['reason']


def start(config: Path, out: Path, num_processes: int, port: int) -> list[subprocess.Popen]:
    """The processes of one extraction, in one group, so that one signal ends all of them and their workers."""
    processes = []
    for rank in range(num_processes):
        env = os.environ | dict(RANK=str(rank), WORLD_SIZE=str(num_processes), LOCAL_RANK=str(rank), MASTER_ADDR='127.0.0.1',
                                MASTER_PORT=str(port), OMP_NUM_THREADS='1')
        args = [sys.executable, '-W', 'ignore', str(TOOL), str(config), '--out', str(out), '--workers', '1', '--device', 'cpu']
        processes.append(subprocess.Popen(args, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                          process_group=processes[0].pid if processes else 0))
    return processes


def kill_while_it_writes(processes: list[subprocess.Popen], out: Path, num_bytes: int) -> None:
    """SIGKILL the group when ids of a run have reached that many bytes; there is no clock in it."""
    while all(process.poll() is None for process in processes):
        if sum(file.stat().st_size for file in out.glob('*/tokens.bin')) >= num_bytes:
            break
        time.sleep(0.001)
    os.killpg(processes[0].pid, signal.SIGKILL)
    for process in processes:
        process.communicate()


def test_extract_tokens__killed_three_times_makes_what_one_run_makes(tmp_path):
    videos = make_motion_dataset(tmp_path / 'videos', MotionSettings(num_train=60, num_val=1, num_frames=8, size=32,
                                                                             speed=(2.0, 4.0)))
    (videos / 'broken.mp4').write_bytes(b'no video at all')
    lines = (videos / 'train.txt').read_text().splitlines()
    (videos / 'list.txt').write_text('\n'.join([*lines[:30], 'broken.mp4 1', *lines[30:]]) + '\n')
    torch.manual_seed(0)
    save_dalle(videos / 'dalle.safetensors', DalleEncoder(16, 1, 50))
    (videos / 'config.py').write_text(CONFIG.format(folder=videos))
    run([videos / 'config.py', '--out', tmp_path / 'whole', '--workers', 0, '--device', 'cpu'])
    whole = content(TokenStore(tmp_path / 'whole'))
    assert len(whole) == 60

    out, rng, kept = tmp_path / 'killed', random.Random(0), set()
    size = (tmp_path / 'whole' / 'shard-00000' / 'tokens.bin').stat().st_size
    for attempt, num_processes in enumerate((2, 1, 3)):
        wanted = size * (attempt + rng.random()) / 4
        kill_while_it_writes(start(videos / 'config.py', out, num_processes, 29650 + attempt), out, wanted)
        assert not (out / 'manifest.json').exists()
        found = stored_names(out)
        assert kept <= found, 'a finished video is lost'
        kept = found
    assert 0 < len(kept) < 60
    processes = start(videos / 'config.py', out, 2, 29660)
    said = [process.communicate(timeout=900)[0] for process in processes]
    assert f'60 videos are in {out} ({60 - len(kept)} of them new); 1 failed' in said[0]
    assert content(TokenStore(out)) == whole
    assert sum(len(list(records_of(folder))) for folder in shard_folders(out)) == 60, 'a finished video was done again'
    assert (out / 'failed.jsonl').read_text() == (tmp_path / 'whole' / 'failed.jsonl').read_text()
    assert not list(out.glob('failed-*'))


def test_extract_tokens__views_are_stores_of_their_own(folder):
    text = (folder / 'config.py').read_text()
    for line in ("        dict(type='Resize', scale=(-1, 32)),\n", "        dict(type='CenterCrop', crop_size=32),\n"):
        assert line in text
        text = text.replace(line, '')
    views = "views = dict(size=32, scales=(1.0, 1.25), crops=('top_left', 'center'), flips=(False, True))\n"
    (folder / 'views.py').write_text(text + views)
    run([folder / 'views.py', '--out', folder / 'views', '--workers', 0, '--device', 'cpu'])
    stores = {path.name: TokenStore(path) for path in view_folders(folder / 'views')}
    assert sorted(stores) == sorted(f'{side}_{crop}{flip}' for side in (32, 40) for crop in ('top_left', 'center')
                                    for flip in ('', '_flip'))
    contents = {name: content(store) for name, store in stores.items()}
    assert contents['32_center'] == expected_content(folder), 'as Resize and CenterCrop make it'
    assert len({json.dumps(found) for found in contents.values()}) == 8
    assert {key: stores['40_top_left_flip'].manifest[key] for key in ('short_side', 'crop', 'flip', 'size')} == dict(
        short_side=40, crop='top_left', flip=True, size=[32, 32])
    assert (folder / 'views' / 'failed.jsonl').read_text().count('broken.mp4') == 1
    assert len(TokenClips(folder / 'views', clip_len=2, num_clips=2)[0, 0]['tokens']) == 2


def test_extract_tokens__long_videos_are_cut_into_parts_that_do_not_show(folder, monkeypatch):
    monkeypatch.setattr(whole_videos, 'FRAMES_PER_PART', 4)
    run([folder / 'config.py', '--out', folder / 'tokens', '--workers', 0, '--device', 'cpu'])
    assert content(TokenStore(folder / 'tokens')) == expected_content(folder)


def test_extract_tokens__failures_are_kept_until_the_video_is_stored(folder):
    args = [folder / 'config.py', '--out', folder / 'tokens', '--workers', 0, '--device', 'cpu']
    (folder / 'tokens').mkdir()
    (folder / 'tokens' / 'failed-00003.jsonl').write_text(  # of a process of a run that was killed
        '{"path": "of another list.mp4", "reason": "gone"}\n{"path": "clip 1.mp4", "reason": "gone"}\n{"path": "br')
    clip = (folder / 'clip 5.mp4').read_bytes()
    (folder / 'clip 5.mp4').write_bytes(clip[:100])
    run(args)
    def failed() -> list[str]:
        return sorted(json.loads(line)['path'] for line in (folder / 'tokens' / 'failed.jsonl').read_text().splitlines())
    assert failed() == ['broken.mp4', 'clip 5.mp4', 'of another list.mp4']
    (folder / 'clip 5.mp4').write_bytes(clip)
    run(args)
    assert failed() == ['broken.mp4', 'of another list.mp4']
    assert content(TokenStore(folder / 'tokens')) == expected_content(folder)


def test_extract_tokens__again_tokenizes_nothing_and_refuses_other_settings(folder, monkeypatch, capsys):
    args = [folder / 'config.py', '--out', folder / 'tokens', '--workers', 0, '--device', 'cpu']
    run(args)
    first = content(TokenStore(folder / 'tokens'))
    assert capsys.readouterr().out.strip().splitlines()[-1].startswith('6 videos')
    monkeypatch.setattr(DalleTokenizer, 'forward', lambda *_: pytest.fail('a video was tokenized again'))
    run(args)
    assert '(0 of them new); 1 failed' in capsys.readouterr().out
    assert content(TokenStore(folder / 'tokens')) == first

    torch.manual_seed(1)
    save_dalle(folder / 'dalle.safetensors', DalleEncoder(8, 1, 50))
    with pytest.raises(SystemExit, match='begun with other settings .tokenizer is'):
        run(args)
    text = (folder / 'config.py').read_text()
    (folder / 'random.py').write_text(text.replace("type='CenterCrop', crop_size=32", "type='RandomCrop', size=32"))
    with pytest.raises(SystemExit, match='RandomCrop is random'):
        run([folder / 'random.py', *args[1:]])
    for option, message in [
            ('dataset.test_mode=False', 'needs test_mode=True'), ('dataset.pipeline.3.crop_size=28', 'divide by the stride'),
            ('views.sizes=32', 'views must have size'), ('views.size=32', 'leave those out of dataset.pipeline')]:
        with pytest.raises(SystemExit, match=message):
            run([*args, '--cfg-options', option])
