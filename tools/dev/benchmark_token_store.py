"""What reading clips costs, from a synthetic token store of many videos: ``python tools/dev/benchmark_token_store.py``.

Writes a store (default: 1,000,000 videos of 20 frames of 4 x 4 ids, in 32 shards) and reads random clips from it with
some worker processes at once. Prints the time to open it, the anonymous memory by which a worker grows, and clips a second.
"""
from __future__ import annotations

import argparse
import multiprocessing
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np  # noqa: E402
from tqdm import tqdm  # noqa: E402

from ssvideo.datasets.token_codec import ZLIB, TokenCodec  # noqa: E402
from ssvideo.datasets.token_shard import VideoRecord  # noqa: E402
from ssvideo.datasets.token_store import TokenStore, TokenStoreWriter  # noqa: E402
from ssvideo.datasets.token_writer import finish_store  # noqa: E402
from ssvideo.utils.readable import readable_size  # noqa: E402

VOCAB_SIZE = 8192
NUM_DIFFERENT = 512
"""Videos drawn; the store repeats them under other names."""


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--store', type=Path, help='where to make the store, or find the one made before; default: a '
                        'temporary folder')
    parser.add_argument('--videos', type=int, default=1_000_000)
    parser.add_argument('--frames', type=int, default=20)
    parser.add_argument('--grid', type=int, nargs=2, default=(4, 4))
    parser.add_argument('--shards', type=int, default=32)
    parser.add_argument('--compress', action='store_true')
    parser.add_argument('--still', type=float, default=0.5, help='share of the ids that repeat the frame before')
    parser.add_argument('--clip-len', type=int, default=5)
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--clips', type=int, default=50_000, help='read by each worker')
    return parser.parse_args()


def random_video(args: argparse.Namespace, rng: np.random.Generator) -> np.ndarray:
    """``(T, h, w)`` ids: some common, many rare, as a tokenizer's are (Zipf), some standing still."""
    ids = np.minimum(rng.zipf(1.2, (args.frames, *args.grid)), VOCAB_SIZE) - 1
    for t in range(1, args.frames):
        ids[t] = np.where(rng.random(ids[t].shape) < args.still, ids[t - 1], ids[t])
    return ids


def write_store(path: Path, args: argparse.Namespace) -> None:
    """Write the synthetic store, a shard in one transaction."""
    manifest = dict(tokenizer='synthetic', fps=2, size=tuple(8 * side for side in args.grid), grid=tuple(args.grid),
                    vocab_size=VOCAB_SIZE, compression=ZLIB if args.compress else None)
    codec, rng, per_shard = TokenCodec.of(manifest), np.random.default_rng(0), -(-args.videos // args.shards)
    drawn = [random_video(args, rng).astype(codec.dtype) for _ in range(NUM_DIFFERENT)]
    encoded = [(codec.checksum(ids), codec.encode(ids)) for ids in drawn]
    for shard in tqdm(range(args.shards), desc='writing shards'):
        writer = TokenStoreWriter(path, manifest, shard)
        videos = []
        for number in range(shard * per_shard, min((shard + 1) * per_shard, args.videos)):
            checksum, stored = encoded[number % NUM_DIFFERENT]
            name = f'videos/{number * 7919 % args.videos:08d}.mp4'.encode()
            videos.append((VideoRecord(name, args.frames, -1, checksum), stored))
        writer.put(videos)
        writer.close(finish=False)
    start = time.perf_counter()
    finish_store(path)
    print(f'indexed in {time.perf_counter() - start:.1f} s')


def anonymous_kb() -> int:
    """Memory of this process that it shares with no file, in kB."""
    lines = Path('/proc/self/smaps_rollup').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith('Anonymous:'))


def read_clips(store: TokenStore, by_name: bool, seed: int, args: argparse.Namespace, results) -> None:
    """Read random clips, and report seconds and the growth of anonymous memory in kB."""
    rng = np.random.default_rng(seed)
    numbers = rng.integers(len(store), size=args.clips)
    videos = [store.videos[number].name for number in numbers.tolist()] if by_name else numbers.tolist()
    firsts = rng.integers(args.frames - args.clip_len + 1, size=args.clips).tolist()
    before, start = anonymous_kb(), time.perf_counter()
    for video, first in zip(videos, firsts):
        store.read(video, range(first, first + args.clip_len))
    results.put((time.perf_counter() - start, anonymous_kb() - before))


def measure(path: Path, args: argparse.Namespace) -> None:
    """Open and read."""
    memory, start = anonymous_kb(), time.perf_counter()
    store = TokenStore(path)
    num_videos = len(store.videos)
    name = store.videos[num_videos // 2].name
    opening = time.perf_counter() - start
    start = time.perf_counter()
    assert store.videos[store.videos.find(name)].name == name
    print(f'{num_videos:,} videos in {len(store.manifest["shards"])} shards, '
          f'{readable_size(sum(sum(shard["sizes"].values()) for shard in store.manifest["shards"]))}, compression: '
          f'{store.manifest["compression"]}')
    print(f'opened in {opening * 1e3:.1f} ms; first look-up of a name {1e3 * (time.perf_counter() - start):.2f} ms; '
          f'{anonymous_kb() - memory} kB of anonymous memory')
    context = multiprocessing.get_context('fork')
    for by_name in (False, True):
        results = context.Queue()
        workers = [context.Process(target=read_clips, args=(store, by_name, seed, args, results))
                   for seed in range(args.workers)]
        for worker in workers:
            worker.start()
        found = [results.get() for _ in workers]
        for worker in workers:
            worker.join()
        seconds = max(seconds for seconds, _ in found)
        print(f'by {"name" if by_name else "number"}: {args.workers * args.clips / seconds:,.0f} clips/s with {args.workers} '
              f'workers; anonymous memory of a worker grew by {max(grown for _, grown in found)} kB')


def main() -> None:
    """Make the store unless it is there, then measure."""
    args = parse_args()
    path = args.store or Path(tempfile.mkdtemp())
    try:
        if not (path / 'manifest.json').is_file():
            write_store(path, args)
        measure(path, args)
    finally:
        if args.store is None:
            shutil.rmtree(path)


if __name__ == '__main__':
    main()
