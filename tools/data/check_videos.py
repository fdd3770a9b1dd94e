"""Find the videos of a list or a folder that cannot be read, before a run does.

    python tools/data/check_videos.py data/kinetics400/train.txt
    python tools/data/check_videos.py VIDEOS --out checked --workers 8 --decode ends

Worker processes open and decode the files; one that hangs or crashes its decoder is named like any other. The results are
clean.txt, which takes the place of the list (of a folder: with data_root=FOLDER), its lines and order as they were;
broken_videos.jsonl, with the reasons; and report.md. Where all frames were decoded, clean.txt.checked beside the list says
what each file was: decord and torchcodec read only such files. A check that was stopped goes on when it is started again.
"""
from __future__ import annotations

import argparse
import functools
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tqdm import tqdm  # noqa: E402

from ssvideo.datasets.broken_policy import TIME_LIMIT  # noqa: E402
from ssvideo.datasets.checking import CheckedList, check_entry  # noqa: E402
from ssvideo.utils.watched_workers import Lost, watched_map  # noqa: E402

LABELS = dict(auto=None, yes=True, no=False)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, help='list (one `path` or `path label` a line) or folder of videos')
    parser.add_argument('--out', type=Path, help='folder of the results; default: SOURCE_checked')
    parser.add_argument('--workers', type=int, default=len(os.sched_getaffinity(0)), help='processes; default: one a core')
    parser.add_argument('--decode', choices=['all', 'ends', 'none'], default='all',
                        help='every frame; the first, middle and last; or none, only opening the file and counting its frames')
    parser.add_argument('--time-limit', type=float, default=TIME_LIMIT, metavar='SECONDS', help='for one file (%(default)s)')
    parser.add_argument('--labels', choices=list(LABELS), default='auto', help='whether lines end with a label')
    parser.add_argument('--delimiter', default=' ', help='between path and label')
    parser.add_argument('--data-root', default='', help='what precedes relative paths of a list')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Check, and say where the results are."""
    args = parse_args(argv)
    source = args.source.resolve()
    out = args.out or source.with_name(f'{source.stem if source.is_file() else source.name}_checked')
    try:
        checked = CheckedList(args.source, out, args.decode, LABELS[args.labels], args.delimiter, args.data_root)
    except ValueError as error:
        sys.exit(str(error))
    num_before, start = len(checked.entries) - len(checked.todo), time.monotonic()
    if num_before:
        print(f'{num_before:,} videos were checked before, as {out}/checked.jsonl tells')
    check(checked, args.workers, args.time_limit)
    rate = len(checked.todo) / max(time.monotonic() - start, 1e-9)
    print(f'{checked.finish()} ({rate:.0f} videos/s): clean list, broken videos and report are in {out}')


def check(checked: CheckedList, num_workers: int, time_limit: float) -> None:
    """Check what is not checked yet, with a progress bar."""
    entries = ((index, checked.path(index)) for index in map(int, checked.todo))
    results = watched_map(functools.partial(check_entry, decode=checked.decode), entries, num_workers, time_limit,
                          preload=['ssvideo.datasets.checking'])
    bar = tqdm(total=len(checked.entries), initial=len(checked.entries) - len(checked.todo), unit='video', smoothing=0.05)
    with bar, checked.recording():
        for (index, _), found in results:
            checked.add(index, dict(reason=found.reason) if isinstance(found, Lost) else found)
            bar.set_postfix(broken=len(checked.reasons), refresh=False)
            bar.update()


if __name__ == '__main__':
    main()
