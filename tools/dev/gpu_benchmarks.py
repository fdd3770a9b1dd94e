"""All that is to be measured of the published recipes on one GPU, in one call.

    python tools/dev/gpu_benchmarks.py --out work_dirs/gpu_benchmarks

For BEVT's joint step and VIMPAC Large-Half at 128 and 256 px, at full size: samples/s, memory and share of the GPU's own peak, in
float32 and bfloat16, compiled and not, beside the plain steps of tests/plain (where they are) in turns; that no step makes the
host wait for the device; losses in bfloat16 beside float32 over --curve steps, on one batch that is learnt by heart; a trace with
the longest gaps between kernels. Video Swin forward and backward beside mmaction2's. Clips are random, and so are the weights.
A part that fails, out of memory say, is told in the page, and the next one goes on. --bevt-options and the like shrink the models
for a trial on a CPU.
"""
from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
os.environ.setdefault('TORCH_CPP_LOG_LEVEL', 'ERROR')

import torch  # noqa: E402
from mmengine.config import Config, DictAction  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from torch.profiler import ProfilerActivity, profile  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402
from tqdm import tqdm  # noqa: E402

import ssvideo.engine  # noqa: E402, F401
import ssvideo.models  # noqa: E402, F401
from ssvideo.engine.compiled_parts import compile_parts  # noqa: E402
from ssvideo.evaluation.device_gaps import largest_gaps, spans_of  # noqa: E402
from ssvideo.evaluation.random_batches import describe_batch, num_videos, random_batch  # noqa: E402
from ssvideo.evaluation.step_timing import TrainingStep, build_step_model, matrix_peak, now  # noqa: E402
from ssvideo.registry import MODELS  # noqa: E402
from ssvideo.utils.files import write_whole  # noqa: E402
from ssvideo.utils.readable import readable_size  # noqa: E402

RECIPES = dict(bevt='bevt_swin_b.py', vimpac_128='vimpac_large_128.py', vimpac_256='vimpac_large_256.py')
TABLES = ('speed', 'waiting', 'curves', 'gaps', 'swin')
PARTS = ('backbone', 'objectives', 'tokenizers')
WARM_UP = 3


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--recipes', nargs='+', choices=RECIPES, default=list(RECIPES))
    parser.add_argument('--tables', nargs='+', choices=TABLES, default=list(TABLES))
    parser.add_argument('--batch', type=int, help="videos in a batch; default: the recipe's")
    parser.add_argument('--shape', type=int, nargs=3, metavar=('T', 'H', 'W'), help="of clips of pixels; default: the recipe's")
    parser.add_argument('--rounds', type=int, default=10, help='timed steps of each, in turns')
    parser.add_argument('--curve', type=int, default=300, help='steps of the loss curves')
    parser.add_argument('--backend', default='inductor', help='of torch.compile')
    parser.add_argument('--device', type=torch.device, default='cuda' if torch.cuda.is_available() else 'cpu')
    for recipe in RECIPES:
        parser.add_argument(f'--{recipe.replace("_", "-")}-options', nargs='+', action=DictAction, default={},
                            help=f'override {RECIPES[recipe]}: key=value')
    parser.add_argument('--swin-options', nargs='+', action=DictAction, default={}, help='override the sizes of Video Swin-B')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/gpu_benchmarks'), help='folder of the page and the traces')
    return parser.parse_args(argv)


# -------------------------------------------------------------------------------------------------------- what is measured

@dataclass
class Contender:
    """A way to compute a step, and what was measured of it."""
    name: str
    step: TrainingStep
    precision: torch.dtype
    seconds: list[float] = field(default_factory=list)


def build(recipe: str, args: argparse.Namespace, precision: torch.dtype, compiled: bool = False,
          plain: bool = False) -> TrainingStep:
    """A step of a recipe on one batch of noise; equal weights each time."""
    cfg = Config.fromfile(ROOT / 'configs' / RECIPES[recipe])
    cfg.merge_from_dict(getattr(args, f'{recipe}_options'))
    wrapper = cfg.optim_wrapper.copy()
    wrapper.type = 'ssvideo.GuardedOptimWrapper'
    wrapper.pop('accumulative_counts', None)
    torch.manual_seed(0)
    config = cfg.model
    if plain:
        from tests.plain import plain_config
        config = type(cfg.model)(plain_config(cfg.model.to_dict()))
    model, optimiser, _ = build_step_model(config, wrapper, args.device)
    if compiled:
        compile_parts(model, PARTS, args.backend)
    batch = random_batch(model, cfg.train_dataloader, args.batch, args.shape)
    return TrainingStep(model, optimiser, batch, args.device, torch.bfloat16 if precision == torch.bfloat16 else None)


def has_plain() -> bool:
    """Whether the plain steps are there."""
    return (ROOT / 'tests' / 'plain' / '__init__.py').exists()


def speed(recipe: str, args: argparse.Namespace) -> str:
    """Ways to compute a recipe's step, in turns."""
    ways = [('plain, float32', torch.float32, False, True)] * has_plain() + [
        ('float32', torch.float32, False, False), ('bfloat16', torch.bfloat16, False, False),
        ('bfloat16, compiled', torch.bfloat16, True, False)]
    rows = [Contender(name, build(recipe, args, precision, compiled, plain), precision)
            for name, precision, compiled, plain in ways]
    with FlopCounterMode(display=False) as counter:
        next(row for row in rows if row.name == 'float32').step()
    for turn in tqdm(range(WARM_UP + args.rounds), desc=f'{recipe}: speed', unit='round'):
        for row in rows:
            took = row.step.seconds()
            if turn >= WARM_UP:
                row.seconds.append(took)
    videos, first, operations = num_videos(rows[0].step.batch), rows[0], counter.get_total_flops()
    lines = [('way', 'videos/s', 'seconds (smallest to largest)', f'against {first.name}', 'share of the peak', 'peak memory')]
    for row in rows:
        median, peak = statistics.median(row.seconds), matrix_peak(args.device, row.precision)
        ratio = statistics.median(a / b for a, b in zip(first.seconds, row.seconds))
        share = 'other operations' if row.name.startswith('plain') else f'{operations / median / peak:.1%}'
        lines.append((row.name, f'{videos / median:.4g}', f'{median:.4g} ({min(row.seconds):.4g} to {max(row.seconds):.4g})',
                      f'{ratio:.2f}x', share, readable_size(row.step.peak_memory())))
    return f'{describe_batch(first.step.batch)}; {operations / 1e12:.4g} TFLOP a step.\n\n{markdown(lines)}'


def waiting(recipe: str, args: argparse.Namespace) -> str:
    """Whether a step makes the host wait."""
    if args.device.type != 'cuda':
        return 'Not a GPU: tests/engine/test_no_waiting.py shows it without one.'
    step = build(recipe, args, torch.bfloat16)
    for _ in range(WARM_UP):
        step()
    torch.cuda.synchronize()
    with reporting_waits():
        step()
    return 'No operation of the step waits for the device (torch.cuda.set_sync_debug_mode).'


@contextmanager
def reporting_waits() -> Iterator[None]:
    """Within this context an operation that waits for the GPU is an error."""
    torch.cuda.set_sync_debug_mode('error')
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode('default')


def curves(recipe: str, args: argparse.Namespace) -> str:
    """Losses in float32 and in bfloat16, from the same weights, with the same masks and dropout."""
    found = {}
    for name, precision in dict(float32=torch.float32, bfloat16=torch.bfloat16).items():
        step, losses = build(recipe, args, precision), []
        for number in tqdm(range(args.curve), desc=f'{recipe}: {name}', unit='step'):
            torch.manual_seed(number)
            losses.append(step()['loss'].detach())
        found[name] = torch.stack(losses).float().cpu()
        del step
        clean_up(args.device)
    window = max(1, args.curve // 10)
    lines = [('steps', *found, 'difference')]
    for begin in range(0, args.curve - window + 1, window):
        means = [losses[begin:begin + window].mean().item() for losses in found.values()]
        lines.append((f'{begin + 1} to {begin + window}', *(f'{mean:.4f}' for mean in means), f'{means[1] / means[0] - 1:+.2%}'))
    return f'Mean losses; the same batch in every step, masks and dropout differ.\n\n{markdown(lines)}'


def gaps(recipe: str, args: argparse.Namespace) -> str:
    """The longest times without a kernel in two steps; the trace goes into the folder."""
    step = build(recipe, args, torch.bfloat16 if args.device.type == 'cuda' else torch.float32)
    for _ in range(WARM_UP):
        step()
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (args.device.type == 'cuda')
    with profile(activities=activities) as profiled:
        for _ in range(2):
            step()
        now(args.device)
    trace = args.out / f'{recipe}_trace.json'
    profiled.export_chrome_trace(str(trace))
    longest, idle = largest_gaps(spans_of(profiled, args.device.type), num=3)
    lines = [('gap, ms', 'after', 'before'), *((f'{gap.seconds * 1e3:.3f}', gap.before[:60], gap.after[:60]) for gap in longest)]
    return f'Idle {idle:.1%} of two steps; the trace is {trace}.\n\n{markdown(lines)}'


def swin(args: argparse.Namespace) -> str:
    """Video Swin forward and backward beside mmaction2's, in turns."""
    sizes = dict(patch_size=(2, 4, 4), window_size=(8, 7, 7), embed_dims=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32))
    sizes |= args.swin_options
    arch = {name: sizes[name] for name in ('embed_dims', 'depths', 'num_heads')}
    cut = {name: sizes[name] for name in ('patch_size', 'window_size')}
    models = dict(
        ours=MODELS.build(dict(type='VideoSwin', drop_path_rate=0.0, **sizes)),
        mmaction2=MODELS.build(dict(
            type='mmaction.SwinTransformer3D', arch=arch, drop_path_rate=0.0, patch_norm=True, **cut)))
    for model in models.values():
        model.to(args.device).train()
    clips = torch.randn(args.batch or 4, 3, *(args.shape or (16, 224, 224)), device=args.device)
    seconds = {name: [] for name in models}
    for turn in tqdm(range(WARM_UP + args.rounds), desc='Video Swin', unit='round'):
        for name, model in models.items():
            model.zero_grad()
            started = now(args.device)
            with torch.autocast(args.device.type, torch.bfloat16, enabled=args.device.type == 'cuda'):
                out = model(clips)
                out = out.maps[-1] if name == 'ours' else out
            out.float().square().mean().backward()
            if turn >= WARM_UP:
                seconds[name].append(now(args.device) - started)
            else:
                now(args.device)
    lines = [('model', 'clips/s', 'speed against mmaction2')]
    for name, took in seconds.items():
        ratio = statistics.median(theirs / own for own, theirs in zip(took, seconds['mmaction2']))
        lines.append((name, f'{len(clips) / statistics.median(took):.4g}', f'{ratio:.2f}x'))
    return f'{tuple(clips.shape)}, forward and backward.\n\n{markdown(lines)}'


# -------------------------------------------------------------------------------------------------------------------- page

def markdown(lines: list[tuple]) -> str:
    """A table; the first line is its head."""
    return '\n'.join('| ' + ' | '.join(cells) + ' |' for cells in (lines[0], ['---'] * len(lines[0]), *lines[1:]))


def clean_up(device: torch.device) -> None:
    """Give memory back, and forget compiled graphs."""
    gc.collect()
    torch._dynamo.reset()
    if device.type == 'cuda':
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def attempt(title: str, measure: Callable[[], str], device: torch.device) -> tuple[str, bool]:
    """A section of the page, and whether it was measured."""
    try:
        return f'### {title}\n\n{measure()}\n', True
    except Exception as error:  # whatever it is: the other parts are worth their time on a GPU
        traceback.print_exc()
        return f'### {title}\n\nNOT MEASURED: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ""}\n', False
    finally:
        clean_up(device)


def main(argv: list[str] | None = None) -> None:
    """Measure, and write the page after each part."""
    args = parse_args(argv)
    init_default_scope('mmaction')
    torch.set_flush_denormal(True)  # as in training
    args.out.mkdir(parents=True, exist_ok=True)
    name = torch.cuda.get_device_name(args.device) if args.device.type == 'cuda' else f'CPU, {torch.get_num_threads()} threads'
    parts = [(f'{recipe}: {table}', partial(globals()[table], recipe, args)) for recipe in args.recipes
             for table in args.tables if table != 'swin']
    parts += [('Video Swin beside mmaction2', partial(swin, args))] * ('swin' in args.tables)
    sections, failed, page = [f'## {name}, torch {torch.__version__}\n'], 0, args.out / 'page.md'
    for title, measure in parts:
        section, measured = attempt(title, measure, args.device)
        sections.append(section)
        failed += not measured
        print(f'\n{section}', flush=True)
        write_whole(page, '\n'.join(sections))
    print(f'{len(parts) - failed} of {len(parts)} parts were measured; the page is {page}')
    if failed:
        sys.exit(1)


if __name__ == '__main__':
    main()
