"""A folder of which a fifth is broken: trained through and tested, each broken file named once, no good one.

    python tools/dev/broken_folder.py --out work_dirs/broken_folder

Writes small videos and breaks every fifth in all the ways that files break; what a sequential decode with PyAV, errors
on, cannot read is the truth. Then the quickstart's BEVT recipe for videos pre-trains on the folder for two epochs, its
fine-tuning recipe tests the same list with on_broken='missing', and tools/data/check_videos.py looks through it. The report
compares what each of them lists; the exit status is 1 where anything differs.
"""
from __future__ import annotations

import argparse
import json
import os
import pickle
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))

import av  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from mmengine.config import Config  # noqa: E402
from tqdm import tqdm  # noqa: E402

from ssvideo.registry import MODELS  # noqa: E402
from ssvideo.utils.files import write_whole  # noqa: E402

NUM_FRAMES, FPS = 8, 16  # as many as the recipes' clips hold
FORMATS = (('.mp4', 'libx264', {}), ('.mp4', 'libx264', {'movflags': 'faststart'}), ('.mkv', 'libx264', {}),
           ('.avi', 'mpeg4', {}))
KINDS = ('zero bytes', 'text', 'cut before the index', 'truncated', 'broken header', 'flipped bits', 'one flipped bit')


@dataclass(frozen=True)
class Video:
    """A file of the folder."""
    path: Path
    kind: str
    """How it was broken; '' if it was not."""
    decodes: bool


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/broken_folder'))
    parser.add_argument('--num-videos', type=int, default=1000)
    parser.add_argument('--seed', type=int, default=0, help='of the pictures and of what is broken where')
    return parser.parse_args(argv)


# -- the folder -------------------------------------------------------------------------------------------------------


def write_video(path: Path, options: dict, codec: str, rng: np.random.Generator) -> None:
    """A square that moves over noise."""
    noise = np.kron(rng.integers(0, 200, (8, 10, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    start, step = rng.integers(0, 40, 2), rng.integers(-3, 4, 2)
    with av.open(str(path), 'w', options=options) as container:
        stream = container.add_stream(codec, rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 80, 64, 'yuv420p'
        for number in range(NUM_FRAMES):
            image = noise.copy()
            y, x = (start + step * number) % 48
            image[y:y + 16, x:x + 16] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format='rgb24')))
        container.mux(stream.encode(None))


def broken(data: bytes, kind: str, rng: random.Random) -> bytes:
    """A file's bytes as a disk, a download or a user would spoil them."""
    if kind == 'zero bytes':
        return b''
    if kind == 'text':
        return b'<html><body>404 Not Found</body></html>\n'
    if kind == 'cut before the index':
        return data[:rng.randint(len(data) // 10, len(data) // 3)]
    if kind == 'truncated':
        return data[:rng.randint(len(data) // 3, len(data) - 1)]
    spoilt = bytearray(data)
    if kind == 'broken header':
        spoilt[:64] = rng.randbytes(64)
    for _ in range({'flipped bits': 40, 'one flipped bit': 1}.get(kind, 0)):
        spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
    return bytes(spoilt)


def decodes(path: Path) -> bool:
    """Whether a sequential decode of FFmpeg's best stream gives frames, and none that is damaged."""
    try:
        with av.open(str(path)) as container:
            stream = container.streams.best('video')
            stream.codec_context.thread_type = 'NONE'
            marks = [frame.is_corrupt for frame in container.decode(stream)]
            return bool(marks) and not any(marks)
    except (av.FFmpegError, OSError, ValueError, AttributeError):
        return False


def make_folder(folder: Path, num_videos: int, seed: int) -> list[Video]:
    """Write the videos, of which every fifth is broken, the ways taking turns."""
    folder.mkdir(parents=True)
    videos, rng = [], random.Random(seed)
    for number in tqdm(range(num_videos), desc='writing', unit='video'):
        suffix, codec, options = FORMATS[number % len(FORMATS)]
        path = folder / f'{number:05d}{suffix}'
        write_video(path, options, codec, np.random.default_rng([seed, number]))
        kind = KINDS[number // 5 % len(KINDS)] if number % 5 == 2 else ''
        if kind:
            path.write_bytes(broken(path.read_bytes(), kind, rng))
        videos.append(Video(path, kind, decodes(path)))
    return videos


# -- what is done with it ---------------------------------------------------------------------------------------------


def run_tool(name: str, out: Path, *words: str) -> float:
    """Run one of our tools; its output goes to a log.

    Returns:
        Seconds.

    Raises:
        RuntimeError: if it fails.
    """
    log, start = out / f'{Path(name).stem}.log', time.monotonic()
    env = os.environ | environment(out)
    with open(log, 'w', encoding='utf-8') as file:
        done = subprocess.run([sys.executable, f'tools/{name}', *words], cwd=REPO, env=env, stdout=file, stderr=file, check=False)
    if done.returncode:
        raise RuntimeError(f'tools/{name} failed:\n' + '\n'.join(log.read_text().splitlines()[-8:]) + f'\nsee {log}')
    return time.monotonic() - start


def environment(out: Path) -> dict[str, str]:
    """Words of the quickstart's recipes: two epochs, each of all files; a class for each file, which tells it from others."""
    num_videos = str(len((out / 'train.txt').read_text().splitlines()))
    return dict(QUICKSTART=str(out), QUICKSTART_SCALE='0.125', QUICKSTART_DRAWS=num_videos, QUICKSTART_CLASSES=num_videos,
                PYTHONWARNINGS='ignore')


def every_frame(dataset: str) -> list[str]:
    """Words that make a recipe's clip the whole file: by its rate, times in whole ms would leave out a frame here and there."""
    return [f'{dataset}.pipeline.0.fps=None', f'{dataset}.pipeline.0.frame_interval=1']


def train(out: Path) -> tuple[float, list[str]]:
    """Pre-train; seconds, and the paths that were listed."""
    tokenizer = MODELS.build(dict(type='DalleVAE', vocab_size=32, hidden_dims=8, num_blocks=1))
    (out / 'tokenizer').mkdir()
    tokenizer.save_tokenizer(str(out / 'tokenizer' / 'tokenizer.safetensors'))
    seconds = run_tool('train.py', out, 'configs/quickstart/bevt_video.py', '--work-dir', str(out / 'pretrain'), '--cfg-options',
                       'load_from=None', 'train_dataloader.video.num_workers=2', 'visualizer.vis_backends=[]', 'custom_hooks=[]',
                       *every_frame('train_dataloader.video.dataset'))
    return seconds, paths_in(out / 'broken_videos.jsonl')


def test(out: Path) -> tuple[float, list[str], list[dict]]:
    """Test a classifier of random weights; seconds, the paths listed as missing, and the predictions."""
    os.environ.update(environment(out))
    cfg = Config.fromfile(REPO / 'configs/quickstart/finetune_bevt.py')
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict(), meta={}), out / 'classifier.pth')
    seconds = run_tool(
        'test.py', out, 'configs/quickstart/finetune_bevt.py', str(out / 'classifier.pth'), '--work-dir', str(out / 'test'),
        '--dump', str(out / 'predictions.pkl'), '--cfg-options', 'test_dataloader.num_workers=2', 'test_dataloader.batch_size=16',
        'test_dataloader.dataset.on_broken=missing', 'test_evaluator.type=ssvideo.VideoAccuracy',
        'default_hooks.broken_files.type=ssvideo.BrokenFilesHook', 'visualizer.vis_backends=[]',
        *every_frame('test_dataloader.dataset'))
    predictions = pickle.loads((out / 'predictions.pkl').read_bytes())  # which this script had made
    return seconds, paths_in(out / 'test' / 'missing_predictions.jsonl'), predictions


def paths_in(file: Path) -> list[str]:
    """The paths of a list of JSON lines."""
    return [json.loads(line)['path'] for line in file.read_text().splitlines()]


# -- what came of it --------------------------------------------------------------------------------------------------


def differences(videos: list[Video], listed: list[str]) -> str:
    """How a list differs from what does not decode; '' if it does not."""
    expected, counts = {str(video.path) for video in videos if not video.decodes}, Counter(listed)
    found = [('not listed', expected - set(counts)), ('listed, but it decodes', set(counts) - expected),
             ('listed more than once', {path for path, count in counts.items() if count > 1})]
    return '; '.join(f'{len(paths)} {what}, as {sorted(paths)[0]}' for what, paths in found if paths)


def wrong_predictions(videos: list[Video], predictions: list[dict]) -> str:
    """What is wrong with the predictions: one for each video, in order, missing exactly where it does not decode."""
    if len(predictions) != len(videos):
        return f'{len(predictions)} predictions of {len(videos)} videos'
    for number, (video, found) in enumerate(zip(videos, predictions)):
        label = found['missing_label'] if 'missing' in found else int(found['gt_label'])
        missing = 'missing' in found and found['filename'] == str(video.path) and bool(found['pred_score'].isnan().all())
        if label != number or missing == video.decodes or found['pred_score'].isnan().any() != missing:
            return f'the prediction of {video.path}: {found}'
    return ''


def report(videos: list[Video], steps: list[tuple[str, float, int, str]]) -> str:
    """Tables of what was broken, and of what each step has listed."""
    lines = [f'{len(videos)} videos, {sum(bool(v.kind) for v in videos)} of them broken; {sum(not v.decodes for v in videos)} do '
             'not decode', '', '| broken by | videos | do not decode |', '| --- | --- | --- |']
    lines += [f'| {kind} | {sum(v.kind == kind for v in videos)} | {sum(v.kind == kind and not v.decodes for v in videos)} |'
              for kind in KINDS]
    lines += ['', '| step | seconds | listed | differences |', '| --- | --- | --- | --- |']
    lines += [f'| {name} | {seconds:.0f} | {listed} | {wrong or "none"} |' for name, seconds, listed, wrong in steps]
    return '\n'.join(lines) + '\n'


def main(argv: list[str] | None = None) -> None:
    """Make the folder, train, test, check, compare."""
    args = parse_args(argv)
    out = args.out.resolve()
    if (out / 'videos').exists():
        sys.exit(f'{out} holds a folder of an earlier run: remove it or name another')
    torch.manual_seed(args.seed)
    videos = make_folder(out / 'videos', args.num_videos, args.seed)
    lines = ''.join(f'{video.path} {number}\n' for number, video in enumerate(videos))
    for name in ('train.txt', 'val.txt'):
        write_whole(out / name, lines)
    seconds, skipped = train(out)
    steps = [('two epochs of pre-training', seconds, len(skipped), differences(videos, skipped))]
    seconds, missing, predictions = test(out)
    wrong = differences(videos, missing) or wrong_predictions(videos, predictions)
    steps.append(("testing with on_broken='missing'", seconds, len(missing), wrong))
    seconds = run_tool('data/check_videos.py', out, str(out / 'val.txt'), '--out', str(out / 'checked'))
    found = paths_in(out / 'checked' / 'broken_videos.jsonl')
    steps.append(('tools/data/check_videos.py', seconds, len(found), differences(videos, found)))
    write_whole(out / 'report.md', report(videos, steps))
    print(f'{(out / "report.md").read_text()}\nThe report is in {out / "report.md"}')
    if any(wrong for *_, wrong in steps):
        sys.exit(1)


if __name__ == '__main__':
    main()
