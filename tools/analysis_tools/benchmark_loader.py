"""What loading costs, and whether it keeps a GPU busy: ``python tools/analysis_tools/benchmark_loader.py CONFIG``.

The loader is the config's own, with its pipeline, batches and random draws. Two tables:

1. One process, stage by stage: choosing frames (which opens the file), decoding, every further transform, collating,
   handing a batch from a worker to the main process, receiving, stacking and copying it to the device.
2. The whole loader against the bare decoder (the same draws opened, chosen and decoded, and nothing else done), both with
   the same workers, in turn, so that other work on the machine falls on both alike; the ratio is the median over the rounds,
   whose range shows how noisy the machine is. The last column is the same ratio of processor time, which other work changes less.

With ``--gpu-rate R``, the clips that the GPU of one process trains on in a second, it says how many workers that takes.
"""
from __future__ import annotations

import argparse
import copy
import math
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import cv2  # noqa: E402
import torch  # noqa: E402
from mmengine.config import Config, DictAction  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from mmengine.runner import Runner  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402
from tqdm import tqdm  # noqa: E402

from ssvideo.datasets import collate_clips  # noqa: E402
from ssvideo.datasets.collate_clips import Sender, receive  # noqa: E402
from ssvideo.datasets.transforms import DecodeClips, LoadImage  # noqa: E402
from ssvideo.engine.launch import given_config  # noqa: E402
from ssvideo.registry import MODELS  # noqa: E402
from ssvideo.utils.files import write_whole  # noqa: E402
from ssvideo.utils.plugins import plugin_argument  # noqa: E402

READERS = (DecodeClips, LoadImage)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file with a train_dataloader')
    parser.add_argument('--stream', help='of several, the one to measure; default: the first')
    parser.add_argument('--source', help="list or folder to load instead of the config's")
    parser.add_argument('--workers', type=int, nargs='+', default=[0, 1, 2], help='numbers of workers to try')
    parser.add_argument('--items', type=int, default=96, help='list entries loaded in a round; at least two batches are')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--gpu-rate', type=float, help='clips a second that the GPU of one process takes')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--out', type=Path, help='also write the tables to this file, in markdown')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='override the config: key=value')
    plugin_argument(parser)
    args = parser.parse_args(argv)
    if min(args.items, args.rounds) < 1 or min(args.workers) < 0 or (args.gpu_rate is not None and args.gpu_rate <= 0):
        parser.error('--items, --rounds and --gpu-rate must be positive, --workers not negative; got '
                     f'{args.items}, {args.rounds}, {args.gpu_rate} and {args.workers}')
    return args


def loader_config(cfg: Config, stream: str | None, source: str | None) -> tuple[str, dict]:
    """The name of a stream and the config of its loader, which reads ``source`` if that is given.

    Raises:
        ValueError: if the config has no such stream.
    """
    loaders = cfg.get('train_dataloader') or {}
    if 'dataset' in loaders:
        loaders = dict(video=loaders)
    stream = stream or next(iter(loaders), None)
    if stream not in loaders:
        raise ValueError(f'{cfg.filename} has no stream {stream!r} in train_dataloader, but {sorted(loaders)}')
    config = copy.deepcopy(loaders[stream])
    if source is not None:
        config.dataset.update(source=source, data_root='')
    return stream, config


def check_batches(loader: DataLoader) -> None:
    """See that a loader gives any batch.

    Raises:
        ValueError: if it gives none.
    """
    if not len(loader):
        raise ValueError(f'the list has {len(loader.dataset)} entries, fewer than a batch of {loader.batch_size}, and the loader '
                         'has drop_last=True, so that it gives nothing: use a longer list, or a smaller batch_size')


# ------------------------------------------------------------------------------------------------------------- one process

class Timed:
    """A transform that adds up the seconds it takes."""

    def __init__(self, transform) -> None:
        self.transform, self.seconds = transform, 0.0

    def __call__(self, results):
        start = time.perf_counter()
        try:
            return self.transform(results)
        finally:
            self.seconds += time.perf_counter() - start


def stages(loader: DataLoader, preprocessor, device: torch.device, num_batches: int) -> tuple[dict[str, float], int, int]:
    """Seconds a clip in each stage, in one process; how many stages belong to a worker; and clips of an entry.

    Returns:
        ``{stage: seconds}`` in order, those of the main process last; the number of the others; V.
    """
    dataset = copy.copy(loader.dataset)
    dataset.transforms = [Timed(transform) for transform in getattr(dataset, 'transforms', [])]
    collating = sending = copying = whole = 0.0
    batches = _batches(loader)
    sender = Sender() if getattr(loader.collate_fn, 'func', loader.collate_fn) is collate_clips else None
    for number in tqdm(range(-1, num_batches), desc='one process'):
        if not number:  # the one before was to warm up
            collating = sending = copying = whole = 0.0
            for transform in dataset.transforms:
                transform.seconds = 0.0
        start = time.perf_counter()
        items = [dataset[entry] for entry in next(batches)]
        loaded = time.perf_counter()
        batch = loader.collate_fn(items)
        collated = time.perf_counter()
        sent, received = _sent(batch, sender)
        copied = received + _timed_copy(preprocessor, batch, device)
        whole, collating = whole + loaded - start, collating + collated - loaded
        sending, copying = sending + sent, copying + copied
    num_clips = len(items[0].get('inputs', items[0].get('tokens')))
    found = {f'{number} {_name(timed.transform)}': timed.seconds for number, timed in enumerate(dataset.transforms, 1)}
    found['rest of the data set'] = whole - sum(found.values())
    found |= {'collate': collating, 'hand over to the main process': sending, f'receive, stack, copy to {device}': copying}
    total = num_batches * loader.batch_size * num_clips
    return {name: seconds / total for name, seconds in found.items()}, len(found) - 1, num_clips


def _name(transform) -> str:
    name = type(transform).__name__
    return f'{name} (opens the file)' if name.startswith('Sample') else name


def _batches(loader: DataLoader) -> Iterator[list]:
    while True:
        yield from loader.batch_sampler


def _sent(batch: Mapping, sender: Sender | None) -> tuple[float, float]:
    """Seconds that a worker takes to hand a batch over, and the main process to copy it out of the worker's buffers.

    Without a ``sender`` a worker shares fresh copies, which the main process then uses as they are.
    """
    tensors = [[value.clone() for value in values] for values in batch.values() if isinstance(values[0], torch.Tensor)]
    start = time.perf_counter()
    handed = [sender.send(values) if sender else [value.share_memory_() for value in values] for values in tensors]
    sent = time.perf_counter()
    if sender:
        for values in handed:
            receive(values)
    return sent - start, time.perf_counter() - sent


def _timed_copy(preprocessor, batch, device: torch.device) -> float:
    start = time.perf_counter()
    preprocessor(batch)
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


# ----------------------------------------------------------------------------------------------------------------- workers

@dataclass
class BareDecoder(torch.utils.data.Dataset):
    """A data set's entries opened and decoded, and dropped."""
    dataset: torch.utils.data.Dataset

    def __post_init__(self) -> None:
        kinds = [isinstance(transform, READERS) for transform in self.dataset.transforms]
        self.dataset = copy.copy(self.dataset)
        self.dataset.transforms = [*self.dataset.transforms[:kinds.index(True) + 1], dropped]

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, entry) -> int:
        return self.dataset[entry]


def dropped(results: dict) -> int:
    """The end of a pipeline that returns nothing worth handing over."""
    return len(results['imgs'])


def decodes(dataset) -> bool:
    """Whether a data set has a transform that decodes files; one of stored tokens has none."""
    return any(isinstance(transform, READERS) for transform in getattr(dataset, 'transforms', []))


@dataclass(frozen=True)
class Cost:
    """Of loading entries: seconds that pass, and seconds of processors, for one."""
    passing: float
    processor: float


def cost(loader: DataLoader, dataset, num_workers: int, num_batches: int) -> Cost:
    """What an entry costs, once the workers are at work; processor time is the workers' and this process's."""
    fresh = DataLoader(dataset, batch_sampler=_Repeated(loader.batch_sampler), num_workers=num_workers,
                       collate_fn=loader.collate_fn if dataset is loader.dataset else None)
    batches = iter(fresh)
    for _ in range(max(num_workers, 1)):  # the workers start, and meet their first files
        next(batches)
    processes = [os.getpid(), *(worker.pid for worker in getattr(batches, '_workers', ()))]
    start, used = time.perf_counter(), _processor_time(processes)
    for _ in range(num_batches):
        next(batches)
    num = num_batches * loader.batch_size
    return Cost((time.perf_counter() - start) / num, (_processor_time(processes) - used) / num)


def _processor_time(processes: list[int]) -> float:
    """Seconds, in ticks of about 10 ms; NaN where the system has no ``/proc``."""
    try:
        fields = [Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split() for pid in processes]
    except FileNotFoundError:
        return math.nan
    return sum(int(user) + int(system) for *_, user, system in (field[:13] for field in fields)) / os.sysconf('SC_CLK_TCK')


@dataclass
class _Repeated:
    """Batches without end, so that a short list is measured as a long one is."""
    batches: object

    def __iter__(self) -> Iterator[list]:
        while True:
            yield from self.batches


def compare(loader: DataLoader, num_workers: int, num_batches: int, rounds: int) -> list[tuple[Cost, Cost]]:
    """What an entry costs the bare decoder and the whole loader, which take turns, in each round."""
    costs = []
    for _ in tqdm(range(rounds), desc=f'{num_workers} workers'):
        bare = cost(loader, BareDecoder(loader.dataset), num_workers, num_batches)
        costs.append((bare, cost(loader, loader.dataset, num_workers, num_batches)))
    return costs


def compared_row(num_workers: int, costs: list[tuple[Cost, Cost]], num_clips: int) -> tuple[str, ...]:
    """A row of the second table: clips a second, the ratio, its range over the rounds, and that of processor time."""
    bare, whole = (num_clips / statistics.median(pair[i].passing for pair in costs) for i in (0, 1))
    ratios = [bare.passing / whole.passing for bare, whole in costs]
    processor = statistics.median(bare.processor / whole.processor if whole.processor else math.nan for bare, whole in costs)
    return (str(num_workers), f'{bare:.4g}', f'{whole:.4g}', f'{statistics.median(ratios):.1%}',
            f'{min(ratios):.0%} to {max(ratios):.0%}', f'{processor:.1%}')


# ------------------------------------------------------------------------------------------------------------------ tables

def shown(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Print a table, and return it in markdown."""
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    lines = ['| ' + ' | '.join(row) + ' |' for row in (columns, ['---'] * len(columns), *rows)]
    return f'{title}\n\n' + '\n'.join(lines) + '\n'


def stage_rows(seconds: Mapping[str, float], num_in_worker: int) -> list[tuple[str, ...]]:
    """A row for each stage, with its share of what a worker, or the main process, does for a clip."""
    names = list(seconds)
    total = sum(seconds[name] for name in names[:num_in_worker])
    rows = [(name, f'{1e3 * seconds[name]:.2f}', f'{seconds[name] / total:.1%}') for name in names[:num_in_worker]]
    rows.append(('a worker, in all', f'{1e3 * total:.2f}', f'{1 / total:.4g} clips/s'))
    return [*rows, *((f'main process: {name}', f'{1e3 * seconds[name]:.2f}', '') for name in names[num_in_worker:])]


def verdict(gpu_rate: float, per_worker: float, configured: int) -> str:
    """Whether a number of workers keeps up with a GPU, and how many would.

    Args:
        gpu_rate: clips a second that the GPU takes.
        per_worker: clips a second that a worker loads.
        configured: workers of the config.
    """
    needed, has = math.ceil(gpu_rate / per_worker), max(configured, 1) * per_worker
    said = 'keeps up' if has >= gpu_rate else f'would starve it: it would wait {1 - has / gpu_rate:.0%} of the time'
    return (f'A GPU that takes {gpu_rate:g} clips/s needs {needed} workers of {per_worker:.4g} clips/s, each with a core of its '
            f'own; the config has num_workers={configured}, which {said}.')


def main(argv: list[str] | None = None) -> None:
    """Measure, print, and write."""
    args = parse_args(argv)
    torch.set_num_threads(1)  # as in a worker
    cv2.setNumThreads(0)
    device = torch.device(args.device)
    try:
        cfg = given_config(args.config, args.cfg_options, args.plugin)
        init_default_scope(cfg.get('default_scope', 'mmaction'))
        stream, config = loader_config(cfg, args.stream, args.source)
        configured = config.num_workers
        config.pop('prefetch_factor', None)
        loader = Runner.build_dataloader(dict(config, num_workers=0, persistent_workers=False), seed=0)
        check_batches(loader)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
    preprocessor = MODELS.build(cfg.model.get('data_preprocessor') or dict(type='ssvideo.ClipPreprocessor')).to(device)
    num_batches = max(math.ceil(args.items / loader.batch_size), 2)
    seconds, num_in_worker, num_clips = stages(loader, preprocessor, device, num_batches)
    what = f'{args.config}, stream {stream!r}, batches of {loader.batch_size} x {num_clips} clips'
    texts = [shown(f'{what}: one process', ('stage', 'ms a clip', 'share'), stage_rows(seconds, num_in_worker))]
    per_worker = 1 / sum(list(seconds.values())[:num_in_worker])
    if decodes(loader.dataset):
        rows = []
        for num_workers in args.workers:
            rows.append(compared_row(num_workers, compare(loader, num_workers, num_batches, args.rounds), num_clips))
        title = f'{what}: clips/s, {args.rounds} rounds'
        texts.append(shown(title, ('workers', 'bare decoder', 'whole loader', 'ratio', 'in rounds', 'processor time'), rows))
    if args.gpu_rate:
        texts.append(verdict(args.gpu_rate, per_worker, configured) + '\n')
        print(texts[-1])
    if args.out:
        write_whole(args.out, '\n'.join(texts))
        print(f'The tables are in {args.out}')


if __name__ == '__main__':
    main()
