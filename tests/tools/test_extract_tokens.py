from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope

from ssvideo.datasets.token_store import TokenStore
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


def command(folder: Path, *args: str) -> list[str]:
    return [sys.executable, str(TOOL), str(folder / 'config.py'), '--out', str(folder / 'tokens'), *args]


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


def test_extract_tokens__is_complete_resumes_after_a_kill_and_lists_failures(folder):
    process = subprocess.Popen(command(folder, '--workers', '1'), stdout=subprocess.DEVNULL, start_new_session=True)
    data = folder / 'tokens' / 'shard-00000' / 'data.mdb'
    deadline = time.monotonic() + 120
    while not data.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)  # at the first video, or near it
    process.wait()
    assert data.exists()
    assert not (folder / 'tokens' / 'manifest.json').exists()

    done = subprocess.run(command(folder, '--workers', '1'), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1].startswith('6 videos are in')
    store = TokenStore(folder / 'tokens')
    assert content(store) == expected_content(folder)
    assert {k: store.manifest[k] for k in ('fps', 'size', 'grid', 'vocab_size', 'num_videos', 'num_frames')} == {
        'fps': 10, 'size': [32, 32], 'grid': [4, 4], 'vocab_size': 50, 'num_videos': 6,
        'num_frames': sum(v.num_frames for v in store.videos)}
    [failure] = [json.loads(line) for line in (folder / 'tokens' / 'failed.jsonl').read_text().splitlines()]
    assert failure['path'] == 'broken.mp4'
    assert failure['reason']


def test_extract_tokens__again_tokenizes_nothing_and_refuses_other_settings(folder, monkeypatch, capsys):
    sys.path.insert(0, str(TOOL.parent))
    try:
        import extract_tokens
    finally:
        sys.path.remove(str(TOOL.parent))
    args = [*map(str, (folder / 'config.py', '--out', folder / 'tokens', '--workers', 0, '--device', 'cpu'))]
    extract_tokens.main(args)
    first = content(TokenStore(folder / 'tokens'))
    assert capsys.readouterr().out.strip().splitlines()[-1].startswith('6 videos')
    monkeypatch.setattr(DalleTokenizer, 'forward', lambda *_: pytest.fail('a video was tokenized again'))
    extract_tokens.main(args)
    assert '(0 of them new); 1 failed' in capsys.readouterr().out.replace('\n', '')
    assert content(TokenStore(folder / 'tokens')) == first

    torch.manual_seed(1)
    save_dalle(folder / 'dalle.safetensors', DalleEncoder(8, 1, 50))
    with pytest.raises(SystemExit, match='begun with other settings .tokenizer is'):
        extract_tokens.main(args)
    for option, message in [('dataset.test_mode=False', 'needs test_mode=True'),
                            ('dataset.pipeline.3.crop_size=28', 'divide by the stride')]:
        with pytest.raises(SystemExit, match=message):
            extract_tokens.main([*args, '--cfg-options', option])
