"""How long a list of a million videos takes to open, and what it costs each worker of a loader.

    python tools/dev/list_at_scale.py                                # 1,200,000 entries, 8 workers
    python tools/dev/list_at_scale.py --folder-files 100000          # and a folder of so many (empty) files

Memory is private memory, of /proc/PID/smaps_rollup: what a process alone holds. Resident memory would count the shared
pages once for each worker. Every case runs in a fresh process. Beside our list stand a short one, which shows what a
worker needs anyway, and a Python list of the same entries, whose reference counts make each worker copy it.

Columns: seconds to open; MB that the list adds to the process that opens it, and the sampler's permutation; MB of the
largest worker, and what of it is for the list.
"""
from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from torch.utils.data import DataLoader, Dataset  # noqa: E402

from ssvideo.datasets import DrawSampler, VideoList  # noqa: E402
from ssvideo.datasets.preparing.lists import write_list  # noqa: E402

BATCH = 256  # entries a batch: paths are small, and it is their memory that counts


class PythonList(Dataset):
    """What ``VideoList`` is compared with: a tuple for each entry."""

    def __init__(self, source: str):
        with open(source) as lines:
            pairs = (line.rstrip('\n').rpartition(' ') for line in lines)
            self.entries = [(path, int(label)) for path, _, label in pairs]

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, item: tuple[int, int]) -> str:
        return self.entries[item[0]][0]


def open_list(source: str) -> VideoList:
    """Our data set, with a pipeline that returns the path."""
    return VideoList(source, pipeline=[path_of], seed=0)


def path_of(results: dict) -> str:
    """A pipeline that reads no file."""
    return results['filename']


def private_memory(pid: int | str = 'self') -> float:
    """MB that a process alone holds."""
    fields = dict(line.split(':') for line in Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()[1:])
    return sum(int(fields[name].split()[0]) for name in ('Private_Clean', 'Private_Dirty')) / 1000


def measure(open_source: Callable[[str], Dataset], source: str, num_workers: int, draws: int) -> dict[str, float]:
    """Open a source, draw from it with workers, and look at the memory while they are up.

    Returns:
        ``entries``; ``seconds`` to open; ``main``, ``sampler`` and ``worker``: MB that the list adds to the process that
        opens it, that the permutation of the sampler adds there, and of the largest worker.
    """
    at_first = private_memory()
    start = time.perf_counter()
    dataset = open_source(source)
    seconds = time.perf_counter() - start
    opened = private_memory()
    sampler = DrawSampler(dataset, seed=0)
    sampler.start_at(0)  # without end: workers stay up while they are looked at
    sampler.entry_of(0)
    drawn = private_memory()
    warnings.filterwarnings('ignore', 'This DataLoader will create')  # more workers than cores, on purpose
    others = set(multiprocessing.active_children())
    # fork, as a run on Linux has it; a spawned process would otherwise spawn its own
    loader = DataLoader(dataset, BATCH, sampler=sampler, num_workers=num_workers, collate_fn=list, multiprocessing_context='fork')
    batches = iter(loader)
    for batch in islice(batches, -(-draws // BATCH)):
        assert batch[0].endswith('.mp4')
    workers = [private_memory(process.pid) for process in set(multiprocessing.active_children()) - others]
    assert len(workers) == num_workers
    return dict(entries=len(dataset), seconds=seconds, main=opened - at_first, sampler=drawn - opened, worker=max(workers))


def in_fresh_process(*args) -> dict[str, float]:
    """``measure``, where no memory of an earlier case is left."""
    with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as pool:
        return pool.submit(measure, *args).result()


def write_sources(folder: Path, num_entries: int, num_files: int) -> dict[str, tuple[Callable, str]]:
    """Lists with names as long as those of Kinetics, and a folder of files."""
    names = ((f'class {i % 400:03}/{i:011}_000010_000020.mp4', i % 400) for i in range(num_entries))
    write_list(folder / 'long.txt', names)
    write_list(folder / 'short.txt', ((f'{i:011}_000010_000020.mp4', i % 400) for i in range(BATCH)))
    sources = {'short list': (open_list, 'short.txt'), 'list': (open_list, 'long.txt'),
               'Python list': (PythonList, 'long.txt')}
    if num_files:
        for i in range(num_files):
            file = folder / 'videos' / f'class {i % 400:03}' / f'{i:011}_000010_000020.mp4'
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        sources['folder'] = open_list, 'videos'
    return {name: (opens, str(folder / source)) for name, (opens, source) in sources.items()}


def main(argv: list[str] | None = None) -> dict[str, dict[str, float]]:
    """Print a table, and return its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--entries', type=int, default=1_200_000)
    parser.add_argument('--folder-files', type=int, default=0, help='empty files to make and to open as a folder')
    parser.add_argument('--workers', type=int, default=8)
    parser.add_argument('--draws', type=int, default=100_000, help='of each case, over all workers')
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        sources = write_sources(Path(folder), args.entries, args.folder_files)
        results = {name: in_fresh_process(*source, args.workers, args.draws) for name, source in sources.items()}
    table = Table(title=f'{args.workers} workers, {args.draws:,} draws; private memory in MB')
    for title in ('source', 'entries', 'open, s', 'opener', 'sampler', 'worker', 'for the list'):
        table.add_column(title, justify='left' if title == 'source' else 'right')
    for name, row in results.items():
        table.add_row(name, f'{row["entries"]:,}', f'{row["seconds"]:.2f}', f'{row["main"]:.0f}', f'{row["sampler"]:.0f}',
                      f'{row["worker"]:.0f}', f'{row["worker"] - results["short list"]["worker"]:.1f}')
    Console().print(table)
    return results


if __name__ == '__main__':
    main()
