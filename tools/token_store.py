"""Look at, verify and merge token stores.

    python tools/token_store.py info DIR                       settings and counts, of every view
    python tools/token_store.py verify DIR [--workers 4]       read all tokens and compare their checksums
    python tools/token_store.py merge DIR DIR ... --out DIR    one store of several of equal settings
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tqdm import tqdm  # noqa: E402

from ssvideo.datasets.token_checks import verify  # noqa: E402
from ssvideo.datasets.token_manifest import view_folders  # noqa: E402
from ssvideo.datasets.token_merge import merge_stores  # noqa: E402
from ssvideo.datasets.token_store import TokenStore  # noqa: E402
from ssvideo.utils.readable import readable_size  # noqa: E402

NUM_SHOWN = 20
"""Damaged videos that are printed; there may be a million."""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True)
    info = commands.add_parser('info', help='settings and counts')
    check = commands.add_parser('verify', help='read all tokens and compare their checksums')
    merge = commands.add_parser('merge', help='one store of several of equal settings')
    for command in (info, check):
        command.add_argument('store', type=Path, help='folder of a store, or of the stores of several views')
    check.add_argument('--workers', type=int, default=2, help='processes that read')
    merge.add_argument('sources', nargs='+', help='folders of finished stores')
    merge.add_argument('--out', required=True, help='folder of the new store; the sources stay as they are')
    return parser.parse_args(argv)


def print_info(path: Path) -> None:
    """Print what a store says of itself, and what its shards take."""
    store = TokenStore(path)
    shards = store.manifest['shards']
    size = sum(sum(shard['sizes'].values()) for shard in shards)
    plain = store.manifest['num_frames'] * store.codec.bytes_per_frame
    print(path)
    for key, value in store.manifest.items():
        if key != 'shards':
            print(f'  {key}: {f"{value:,}" if key.startswith("num_") else value}')
    print(f'  shards: {len(shards)}, {readable_size(size)}; plain ids alone would be {readable_size(plain)}')


def verify_store(path: Path, workers: int) -> None:
    """Read every video.

    Raises:
        ValueError: that says which are damaged.
    """
    problems = []
    with tqdm(total=len(TokenStore(path)), desc=f'verifying {path}', unit='video') as bar:
        for number, found in verify(path, workers):
            problems += found
            bar.update(number)
    if problems:
        more = f'\n... and {len(problems) - NUM_SHOWN} more' * (len(problems) > NUM_SHOWN)
        raise ValueError(f'{len(problems)} videos of {path} are damaged:\n' + '\n'.join(problems[:NUM_SHOWN]) + more)
    print(f'{path}: all {len(TokenStore(path))} videos are whole')


def main(argv: list[str] | None = None) -> None:
    """Do what the command line says, or say in a few lines why not."""
    args = parse_args(argv)
    try:
        if args.command == 'merge':
            with tqdm(total=sum(len(TokenStore(source)) for source in args.sources), desc='merging', unit='video') as bar:
                num_videos = merge_stores(args.sources, args.out, bar.update)
            print(f'{num_videos} videos are in {args.out}')
            return
        for path in view_folders(args.store):
            verify_store(path, args.workers) if args.command == 'verify' else print_info(path)
    except ValueError as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
