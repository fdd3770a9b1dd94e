"""Cut a folder of videos into the lists that recipes read: train.txt, and with labels finetune.txt, val.txt, classes.txt.

    python tools/data/make_lists.py VIDEOS OUT

A folder with its own train.txt and val.txt keeps them. Otherwise two or more class-named sub-folders give labels, and a
share of each class is held out; without labels every video goes to train.txt.
"""
from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ssvideo.datasets.entries import Entries, read_folder, read_list  # noqa: E402
from ssvideo.datasets.preparing.lists import write_list  # noqa: E402
from ssvideo.datasets.video_list import VideoList  # noqa: E402
from ssvideo.utils.files import write_whole  # noqa: E402

Line = tuple[str, int | None]


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('videos', type=Path, help='folder of videos')
    parser.add_argument('out', type=Path, help='folder for the lists')
    parser.add_argument('--val-share', type=float, default=0.25, help='of each class, held out')
    parser.add_argument('--labelled', type=int, default=None, help='labelled clips in finetune.txt; default: all')
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Write the lists, and say what is in them."""
    args = parse_args()
    train, val, names = find_lists(args.videos, args.val_share, random.Random(args.seed))
    if not train:
        sys.exit(f'{args.videos} holds no video ({", ".join(sorted(VideoList.suffixes))})')
    write_list(args.out / 'train.txt', train)
    said = f'{len(train)} training videos'
    if names:
        finetune = train[:args.labelled]
        write_list(args.out / 'finetune.txt', finetune)
        write_list(args.out / 'val.txt', val)
        write_whole(args.out / 'classes.txt', '\n'.join(names) + '\n')
        said += f' ({len(finetune)} of them for fine-tuning) and {len(val)} for testing, {len(names)} classes'
    print(f'{said}; the lists are in {args.out}')


def find_lists(folder: Path, val_share: float, rng: random.Random) -> tuple[list[Line], list[Line], list[str]]:
    """``(train, val, class names)``; the last two are empty without labels."""
    if (folder / 'train.txt').is_file() and (folder / 'val.txt').is_file():
        names = (folder / 'classes.txt').read_text('utf-8').split('\n')
        return (*(lines_of(read_list(folder / f'{part}.txt', labels=True), folder) for part in ('train', 'val')),
                [name for name in names if name])
    entries, names = read_folder(folder, VideoList.suffixes)
    lines = lines_of(entries, folder)
    rng.shuffle(lines)
    if not names:
        return lines, [], []
    train, val = [], []
    for label in range(len(names)):
        members = [line for line in lines if line[1] == label]
        num_val = max(1, round(val_share * len(members)))
        val += members[:num_val]
        train += members[num_val:]
    rng.shuffle(train)
    return train, val, names


def lines_of(entries: Entries, root: Path) -> list[Line]:
    """Absolute paths and labels; the files themselves are not asked for anything."""
    root = root.resolve()
    return [(str(root / entries.path(i)), entries.label(i)) for i in range(len(entries))]


if __name__ == '__main__':
    main()
