"""Time training steps of a recipe, alone or beside another: samples per second, parts, memory, share of the machine's peak.

    python tools/analysis_tools/benchmark.py configs/bevt_swin_b.py --batch 1 --parts
    python tools/analysis_tools/benchmark.py configs/vimpac_small.py --against configs/vimpac_base.py --batch 2 4
    python tools/analysis_tools/benchmark.py CONFIG --against CONFIG --against-options model.backbone.layout=THW --amp --compile
    python tools/analysis_tools/benchmark.py configs/vimpac_small.py --batch 2 --no-amp --against plain
    python tools/analysis_tools/benchmark.py configs/bevt_video_swin_t.py --batch 1 --no-amp --against mmaction

``plain`` is the recipe's step as its paper states it (tests/plain): logits at all positions, attention written out, every frame
tokenized in float32, masks and normalising on the host. ``mmaction`` takes the recipe's Video Swin alone, forward and backward,
and mmaction2's beside it. ``--processor-time`` counts what the processes of a shared machine do not take from each other.

Whatever is compared takes turns in one process, so that all of it sees the same machine. Clips are random, and so are the
weights; a tokenizer whose file is missing is one of the published size with random weights. Loading data is measured by itself,
where the recipe's data is on this machine. The peak is that of the machine's own matrix products in the precision used, measured
in the same run; the operations of a step are those of its matrix products, convolutions and attention, as it does them.
"""
from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
os.environ.setdefault('KINETO_LOG_LEVEL', '99')  # else the profiler, which measures memory, talks of GPUs that are not there
os.environ.setdefault('TORCH_CPP_LOG_LEVEL', 'ERROR')

import torch  # noqa: E402
from mmengine.config import Config, DictAction  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from mmengine.runner import Runner  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402
from tqdm import tqdm  # noqa: E402

import ssvideo.engine  # noqa: E402, F401
from ssvideo.engine.launch import given_config  # noqa: E402
from ssvideo.engine.streams import ZippedLoader  # noqa: E402
from ssvideo.evaluation.random_batches import describe_batch, num_videos, random_batch  # noqa: E402
from ssvideo.evaluation.step_timing import (  # noqa: E402
    PARTS,
    Meter,
    TrainingStep,
    build_step_model,
    matrix_peak,
    now,
)
from ssvideo.utils.files import write_whole  # noqa: E402
from ssvideo.utils.plugins import plugin_argument  # noqa: E402
from ssvideo.utils.readable import readable_size  # noqa: E402

AUTOCAST = 'AutocastOptimWrapper'
PLAIN, MMACTION = 'plain', 'mmaction'
NUM_BATCHES = 5
"""Batches of data that are timed, after one that is not."""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file of a training')
    parser.add_argument('--against', metavar='CONFIG',
                        help=f"a second one, in turns with the first; or '{PLAIN}' or '{MMACTION}', see above")
    parser.add_argument('--batch', type=int, nargs='+', metavar='N', default=[None],
                        help="videos in a batch, one size or several; other streams keep their proportion. Default: the recipe's")
    parser.add_argument('--shape', type=int, nargs='+', metavar='N',
                        help="side, or H W, or T H W of clips of pixels; default: the recipe's")
    parser.add_argument('--parts', action='store_true', help='also time the parts of a step, in rounds of their own')
    parser.add_argument('--rounds', type=int, default=5, help='timed steps of each, after two that are not')
    parser.add_argument('--amp', action=argparse.BooleanOptionalAction,
                        help="bfloat16 autocast, or float32; default: the recipe's")
    parser.add_argument('--processor-time', action='store_true',
                        help='count the seconds of processors, of all threads, instead of the clock: on a shared CPU')
    parser.add_argument('--compile', action='store_true', help='compile the backbone')
    parser.add_argument('--device', type=torch.device, default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='override both configs: key=value')
    plugin_argument(parser)
    parser.add_argument('--against-options', nargs='+', action=DictAction, default={}, help='override the second alone')
    parser.add_argument('--out', type=Path, help='also write the tables to this file, in markdown')
    args = parser.parse_args(argv)
    if args.rounds < 1 or min(size or 1 for size in args.batch) < 1:
        parser.error('--rounds and --batch must be at least 1')
    if args.processor_time and args.device.type != 'cpu':
        parser.error('--processor-time measures a CPU: add --device cpu, or leave it out')
    args.clock = time.process_time if args.processor_time else time.perf_counter
    return args


@dataclass
class Contender:
    """One row of the table.

    Args:
        name: of the config.
        step: its training step.
        precision: in which it computes its products.
        operations: of a step, 2 per multiply-accumulate.
        data: seconds that its loaders take for a batch, or why that is not known.
        missing: files of tokenizers that random ones stand in for.
        seconds: of each timed step.
        parts: seconds of each part, by name, of each step that was timed by parts.
        memory: bytes, see :meth:`TrainingStep.peak_memory`.
    """
    name: str
    step: TrainingStep
    precision: torch.dtype
    operations: float
    data: float | str
    missing: list[str]
    seconds: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=dict)
    memory: int = 0

    @property
    def median(self) -> float:
        """Seconds of a step."""
        return statistics.median(self.seconds)


# ------------------------------------------------------------------------------------------------------------- contenders

def contenders(args: argparse.Namespace) -> list[Contender]:
    """All that takes part; what is first is what the others are compared with."""
    if args.against in (PLAIN, MMACTION) and not (ROOT / 'tests' / 'plain').is_dir():
        raise ValueError(f'--against {args.against} needs tests/plain, which a checkout of the repository has and an installed '
                         'package has not')
    own = read_config(args.config, args.cfg_options, args.plugin)
    sides = [(own, Path(own.filename).name, dict)]
    if args.against == PLAIN:
        from tests.plain import plain_config
        sides.append((read_config(args.config, args.cfg_options | args.against_options), PLAIN, plain_config))
    elif args.against == MMACTION:
        keep_pixels(own)
        sides = [(own, f'VideoSwin of {Path(own.filename).name}', partial(swin_alone, theirs=False)),
                 (own, 'SwinTransformer3D of mmaction2', partial(swin_alone, theirs=True))]
    elif args.against:
        other = read_config(args.against, args.cfg_options | args.against_options)
        sides.append((other, Path(other.filename).name, dict))
    return [contender(*side, size, args) for side, size in itertools.product(sides, args.batch)]


def swin_alone(model: dict, theirs: bool) -> dict:
    """The config of a recipe's Video Swin without its method."""
    from tests.plain.swin_alone import SwinAlone
    return dict(type=SwinAlone, theirs=theirs, **{part: model[part] for part in ('backbone', 'data_preprocessor')})


def keep_pixels(cfg: Config) -> None:
    """Leave of a recipe the first stream, and no tokenizer.

    Raises:
        ValueError: if its backbone reads no pixels.
    """
    if cfg.model.backbone.type.rsplit('.', 1)[-1] != 'VideoSwin':
        raise ValueError(f'--against {MMACTION} compares VideoSwin, and this recipe has {cfg.model.backbone.type}')
    cfg.model.pop('tokenizer', None)
    loaders = cfg.train_dataloader
    cfg.train_dataloader = dict(clips=loaders if 'dataset' in loaders else next(iter(loaders.values())))


def read_config(path: str, options: dict, plugins: Sequence[str] = ()) -> Config:
    """A config with options.

    Raises:
        ValueError: if it trains nothing.
    """
    cfg = given_config(path, options, plugins)
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    if missing := [name for name in ('model', 'train_dataloader', 'optim_wrapper') if not cfg.get(name)]:
        raise ValueError(f'{path} has no {", ".join(missing)}: give the config of a training')
    return cfg


def contender(cfg: Config, name: str, change: Callable[[dict], dict], batch_size: int | None,
              args: argparse.Namespace) -> Contender:
    """A recipe, whose model is changed, with one size of batch; its first step, which counts the operations, is not timed."""
    wrapper = cfg.optim_wrapper.copy()
    kind = wrapper.get('type', 'OptimWrapper').removeprefix('ssvideo.')
    amp = kind == AUTOCAST if args.amp is None else args.amp
    if kind == AUTOCAST:  # which takes the device that mmengine finds
        wrapper.type = 'ssvideo.GuardedOptimWrapper'
    model, optimiser, missing = build_step_model(cfg.model, wrapper, args.device, change)
    batch = random_batch(model, cfg.train_dataloader, batch_size, args.shape)
    step = TrainingStep(model, optimiser, batch, args.device, torch.bfloat16 if amp else None)
    with FlopCounterMode(display=False) as counter:
        step()
    if args.compile:
        if not hasattr(model, 'backbone'):
            raise ValueError(f'--compile compiles a backbone, and a {type(model).__name__} has none')
        model.backbone.compile(dynamic=False)
    return Contender(name, step, torch.bfloat16 if amp else torch.float32, counter.get_total_flops(),
                     data_seconds(cfg, batch_size), missing)


def data_seconds(cfg: Config, batch_size: int | None) -> float | str:
    """What a batch costs the recipe's loaders, with the workers that it gives them; or why that is not known."""
    loaders = {'': cfg.train_dataloader} if 'dataset' in cfg.train_dataloader else cfg.train_dataloader
    built = {}
    for stream, loader in loaders.items():
        size = loader.batch_size if batch_size is None else max(
            1, loader.batch_size * batch_size // next(iter(loaders.values())).batch_size)
        try:
            built[stream] = Runner.build_dataloader(dict(loader.to_dict(), batch_size=size), seed=0)
        except (ValueError, FileNotFoundError) as error:
            return f'loading was not measured, the data is not here: {error}'
    batches = ZippedLoader(built).batches(0)
    next(batches)
    started = now(torch.device('cpu'))
    for _ in range(NUM_BATCHES):
        next(batches)
    seconds = (now(torch.device('cpu')) - started) / NUM_BATCHES
    batches.close()
    return seconds


# -------------------------------------------------------------------------------------------------------------- measuring

def measure(rows: Sequence[Contender], args: argparse.Namespace) -> None:
    """Fill in seconds, parts and memory."""
    for turn in tqdm(range(args.rounds + 1), desc='steps', unit='round'):
        for row in rows:
            took = row.step.seconds(args.clock)
            if turn:
                row.seconds.append(took)
    for _ in range(args.rounds if args.parts else 0):
        for row in rows:
            meter = Meter(args.device, args.clock)
            row.step(meter)
            for name in filter(meter.seconds.__contains__, PARTS):
                row.parts.setdefault(name, []).append(meter.seconds[name])
    for row in rows:
        row.memory = row.step.peak_memory()


# ----------------------------------------------------------------------------------------------------------------- tables

def main_table(rows: Sequence[Contender], peaks: dict[torch.dtype, float]) -> str:
    """A line for each contender."""
    head = ('config', 'batch', 'precision', 'videos/s', 'seconds (quartiles)', 'speed against the first', 'TFLOP',
            'share of the peak', 'peak memory', 'loading a batch')
    lines = []
    for row in rows:
        videos, low, high = num_videos(row.step.batch), *quartiles(row.seconds)
        ratios = [first / own * videos / num_videos(rows[0].step.batch) for first, own in zip(rows[0].seconds, row.seconds)]
        share = row.operations / row.median / peaks[row.precision]
        lines.append((
            row.name, describe_batch(row.step.batch), name_of(row.precision), f'{videos / row.median:.3g}',
            f'{row.median:.3g} ({low:.3g} to {high:.3g})', f'{statistics.median(ratios):.2f}x', f'{row.operations / 1e12:.3g}',
            f'{share:.1%}', readable_size(row.memory), 'not measured' if isinstance(row.data, str) else f'{row.data:.3g} s'))
    return markdown(head, lines)


def parts_table(rows: Sequence[Contender]) -> str:
    """Seconds and shares of the parts."""
    names = [name for name in PARTS if any(name in row.parts for row in rows)]
    medians = [{name: statistics.median(row.parts.get(name, [0.0])) for name in names} for row in rows]
    lines = [(name, *(f'{one[name]:.3g} s, {one[name] / sum(one.values()):.1%}' for one in medians)) for name in names]
    return markdown(('part', *(f'{row.name}, {num_videos(row.step.batch)} videos' for row in rows)), lines)


def verdicts(rows: Sequence[Contender]) -> str:
    """A sentence for each size of batch that two sides have."""
    told = []
    for own, other in zip(rows, rows[len(rows) // 2:]):
        ratios = [theirs / ours for ours, theirs in zip(own.seconds, other.seconds)]
        low, high = quartiles(ratios)
        told.append(f'- A step of {own.name} is {statistics.median(ratios):.2f} times as fast as one of {other.name} '
                    f'(quartiles of {len(ratios)} pairs: {low:.2f} to {high:.2f}), with {own.memory / other.memory:.2f} of its '
                    f'peak memory ({describe_batch(own.step.batch)}).')
    return '\n'.join(told)


def name_of(precision: torch.dtype) -> str:
    """Such as 'float32'."""
    return str(precision).removeprefix('torch.')


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The first and the third; of fewer than three values the smallest and the largest."""
    if len(values) < 3:
        return min(values), max(values)
    low, _, high = statistics.quantiles(values, n=4, method='inclusive')
    return low, high


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table."""
    return '\n'.join('| ' + ' | '.join(cells) + ' |' for cells in (head, ['---'] * len(head), *lines))


def where(device: torch.device) -> str:
    """The machine, in words."""
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else f'{device.type}, {torch.get_num_threads()} threads'
    return f'{name}, torch {torch.__version__}'


def report(args: argparse.Namespace) -> str:
    """Measure, and tell it in markdown."""
    torch.manual_seed(0)
    torch.set_flush_denormal(True)  # as in training
    rows = contenders(args)
    peaks = {precision: matrix_peak(args.device, precision, clock=args.clock) for precision in {row.precision for row in rows}}
    measure(rows, args)
    told = ', '.join(f'{peak / 1e12:.3g} TFLOP/s in {name_of(precision)}' for precision, peak in peaks.items())
    how = f'{args.rounds} steps of each in turns, medians{"; the backbone is compiled" if args.compile else ""}'
    if args.processor_time:
        how += '; seconds are those of the processors, of all threads'
    notes = [f'- {row.name}: {row.data}.' for row in rows if isinstance(row.data, str)]
    notes += [f'- {path} does not exist: a tokenizer of the published size with random weights.'
              for row in rows for path in row.missing]
    return '\n\n'.join(filter(None, [
        f'### Training steps\n\n{where(args.device)}; {how}. Products of large matrices reach {told}.', main_table(rows, peaks),
        verdicts(rows) if args.against else '', parts_table(rows) if args.parts else '', '\n'.join(dict.fromkeys(notes))])) + '\n'


def main(argv: list[str] | None = None) -> None:
    """Measure, print and write."""
    args = parse_args(argv)
    try:
        page = report(args)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
    print(page)
    if args.out:
        write_whole(args.out, page)
        print(f'The tables are in {args.out}')


if __name__ == '__main__':
    main()
