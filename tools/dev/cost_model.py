"""GPU-hours and cost of the published recipes on R GPUs, and what limits each: a model, every assumption an argument.

    python tools/dev/cost_model.py --gpus 1 8 32 256 --out work_dirs/cost_model.md

An optimiser step takes what its slowest supplier takes: the GPU (matrix products at a share of its peak, and the optimiser, which
reads and writes weights and moments in memory), the part of the exchange of gradients that is not hidden behind the last backward
pass, or the input (decoding on the CPU cores of a GPU, or reading a token store; storage; the copy to the device). Operations are
counted from the configs (get_flops.py): a trained part costs three times its forward pass, a frozen tokenizer once, and where a
contrast needs more pairs than are at hand, backbones are run forward once more. The defaults are the data sheet of an H200
(dense bfloat16, NVLink, memory), 400 Gb/s of network for each GPU, and this project's rates of loading (docs/benchmarks.md);
nothing here was measured on a GPU. Utilisation is the figure to put in once one has been (tools/dev/gpu_benchmarks.py).
"""
from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'analysis_tools'))
os.environ.setdefault('TORCH_CPP_LOG_LEVEL', 'ERROR')

from get_flops import count  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402

import ssvideo.engine  # noqa: E402, F401
from ssvideo.utils.files import write_whole  # noqa: E402

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
BYTES_OF_STEP = 28
"""A parameter's in an AdamW step: weight, gradient and two moments read, weight and moments written, in float32."""


@dataclass
class Recipe:
    """A training: its config, the entries of its data set and how often they are seen, videos (or images) of a step."""
    config: str
    entries: int
    epochs: int
    batch: int


RECIPES = (  # entries: VIMPAC Sec. 4.1 (HowTo100M), Kinetics-400 and ImageNet-1K as released
    Recipe('vimpac_small.py', 1_200_000, 10, 1024), Recipe('vimpac_large_128.py', 1_200_000, 90, 1024),
    Recipe('vimpac_large_256.py', 1_200_000, 10, 1024), Recipe('bevt_image_swin_b.py', 1_281_167, 800, 2048),
    Recipe('bevt_swin_b.py', 240_000, 150, 256))


@dataclass
class Work:
    """What one entry of a recipe's first stream brings with it.

    Args:
        trained: operations of a forward pass of what is trained, 2 a multiply-accumulate.
        again: of these, what is run forward once more where summaries are cached.
        frozen: operations of a tokenizer.
        parameters: trained ones.
        clips: to decode.
        images: to decode.
        token_bytes: to read from a store.
        device_bytes: to copy to the device.
        num_pairs: that a contrast compares, 0 where there is none.
    """
    trained: float = 0.0
    again: float = 0.0
    frozen: float = 0.0
    parameters: float = 0.0
    clips: float = 0.0
    images: float = 0.0
    token_bytes: float = 0.0
    device_bytes: float = 0.0
    num_pairs: int = 0


ASSUMPTIONS = (
    ('--peak', 989.0, 'TFLOP/s of a GPU, dense bfloat16'),
    ('--utilisation', 0.35, 'share of it that a step reaches'),
    ('--memory-bandwidth', 4800.0, "GB/s of a GPU's memory"),
    ('--nvlink', 450.0, 'GB/s each way between GPUs of a machine'),
    ('--network', 50.0, 'GB/s of network for each GPU'),
    ('--overlap', 0.8, 'share of the last backward pass that hides exchange'),
    ('--host-link', 50.0, 'GB/s from host to device'),
    ('--storage', 0.5, 'GB/s of storage for each GPU'),
    ('--clips-per-core', 24.5, 'clips of 16 frames/s that a core decodes'),
    ('--images-per-core', 120.0, 'images/s that a core reads and augments'),
    ('--stored-clips-per-core', 17000.0, 'clips/s that a core reads from a token store'),
    ('--clip-bytes', 0.4e6, 'bytes read from storage for a clip'),
    ('--image-bytes', 0.11e6, 'bytes read from storage for an image'),
    ('--price', 3.5, 'of a GPU-hour'))


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line; the defaults are the assumptions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default, told in ASSUMPTIONS:
        parser.add_argument(name, type=float, default=default, help=f'{told} (default: {default:g})')
    parser.add_argument('--cores', type=int, default=16, help='CPU cores for each GPU (default: 16)')
    parser.add_argument('--machine', type=int, default=8, help='GPUs of a machine (default: 8)')
    parser.add_argument('--gpus', type=int, nargs='+', default=(1, 8, 32, 256), metavar='R')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/cost_model.md'))
    args = parser.parse_args(argv)
    wrong = [name for name, value in vars(args).items() if isinstance(value, (int, float)) and value <= 0]
    if wrong or min(args.gpus) < 1 or args.utilisation > 1 or args.overlap > 1:
        parser.error('all figures must be positive, --utilisation and --overlap at most 1')
    return args


# ------------------------------------------------------------------------------------------------------------ what is done

def work_of(cfg: Config) -> Work:
    """Count a recipe's work for one entry of its first stream."""
    tables, _ = count(cfg, None)
    loaders, work = cfg.train_dataloader, Work()
    first = next(iter(loaders.values())).batch_size
    for (_, parts), loader in zip(tables, loaders.values()):
        views = loader.dataset.get('num_clips', 1) * loader.batch_size / first
        for part in parts:
            operations = 2 * part.macs * views
            if part.name.startswith('tokenizers'):
                work.frozen += operations
            else:
                work.trained += operations
                work.again += operations * (part.name == 'backbone')
        if 'pipeline' in loader.dataset:
            frames = next((step.clip_len for step in loader.dataset.pipeline if 'clip_len' in step), 1)
            work.device_bytes += views * 3 * frames * 224**2
            work.clips, work.images = work.clips + views * (frames > 1), work.images + views * (frames == 1)
        else:
            t, h, w = cfg.model.backbone.grid
            work.token_bytes += views * t * h * w * 2  # ids of 16 bits
            work.device_bytes += views * t * h * w * 8
    work.parameters = sum(part.parameters for part in tables[0][1] if not part.name.startswith('tokenizers'))
    pairs = [objective.get('num_pairs') or 0 for objective in cfg.model.objectives.values()]
    work.num_pairs = max(pairs)
    return work


@dataclass
class Step:
    """Seconds of an optimiser step by supplier, and the bytes that a GPU sends for its gradients."""
    compute: float
    exchange: float
    suppliers: dict[str, float]
    sent: float

    @property
    def seconds(self) -> float:
        """Of the step."""
        return max(self.compute + self.exchange, *self.suppliers.values())

    @property
    def limit(self) -> str:
        """What the step waits for."""
        slowest = max(self.suppliers, key=self.suppliers.get)
        if self.suppliers[slowest] > self.compute + self.exchange:
            return slowest
        return 'exchange of gradients' if self.exchange > self.compute else 'arithmetic'


def bytes_read(work: Work, args: argparse.Namespace) -> float:
    """From storage, for a video."""
    return work.token_bytes + work.clips * args.clip_bytes + work.images * args.image_bytes


def step_of(recipe: Recipe, work: Work, at_once: int, gpus: int, args: argparse.Namespace) -> Step:
    """A step on so many GPUs, each of which takes ``at_once`` videos at a time."""
    own = recipe.batch / gpus
    rate = args.peak * 1e12 * args.utilisation
    again = work.again if work.num_pairs > min(at_once, own) * gpus else 0.0
    optimiser = work.parameters * BYTES_OF_STEP / args.memory_bandwidth / 1e9
    compute = own * (3 * work.trained + again + work.frozen) / rate + optimiser
    sent = 2 * (gpus - 1) / gpus * 4 * work.parameters
    link = args.nvlink if gpus <= args.machine else args.network
    hidden = args.overlap * min(at_once, own) * 2 * work.trained / rate
    input_cores = work.clips / args.clips_per_core + work.images / args.images_per_core
    if work.token_bytes:
        input_cores += 2 / args.stored_clips_per_core
    suppliers = {'decoding' if not work.token_bytes else 'the token store': own * input_cores / args.cores,
                 'storage': own * bytes_read(work, args) / args.storage / 1e9,
                 'copies to the device': own * work.device_bytes / args.host_link / 1e9}
    return Step(compute, max(0.0, sent / link / 1e9 - hidden), suppliers, sent)


# -------------------------------------------------------------------------------------------------------------------- page

def lines_of(recipe: Recipe, args: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The recipe's work, and its line for each number of GPUs."""
    cfg = Config.fromfile(CONFIGS / recipe.config)
    at_once = next(iter(cfg.train_dataloader.values())).batch_size
    work = work_of(cfg)
    steps = recipe.entries * recipe.epochs // recipe.batch
    name = recipe.config.removesuffix('.py')
    fed = (1 / (work.clips / args.clips_per_core + work.images / args.images_per_core) if not work.token_bytes
           else args.stored_clips_per_core / 2)
    own = [f'{name} | {steps:,} x {recipe.batch} | {(3 * work.trained + work.frozen) / 1e12:.3g} | {work.parameters / 1e6:.4g} | '
           f'{4 * work.parameters / 1e9:.3g} | {bytes_read(work, args) / 1e6:.3g} | {fed:.4g}']
    rows = []
    for gpus in args.gpus:
        step = step_of(recipe, work, at_once, gpus, args)
        hours = steps * step.seconds / 3600
        cores = max(step.suppliers[key] for key in ('decoding', 'the token store') if key in step.suppliers) * args.cores
        rows.append(f'{name} | {gpus} | {step.seconds:.3g} | {step.limit} | {step.exchange / step.seconds:.1%} | '
                    f'{cores / (step.compute + step.exchange):.1f} | {hours:,.1f} | {hours * gpus:,.0f} | '
                    f'{hours * gpus * args.price:,.0f}')
    return own, rows


def main(argv: list[str] | None = None) -> None:
    """Count, print and write the tables."""
    args = parse_args(argv)
    init_default_scope('mmaction')
    works, rows = [], []
    for recipe in RECIPES:
        own, lines = lines_of(recipe, args)
        works += own
        rows += lines
    heads = ('recipe | steps | TFLOP a video | parameters, M | GB of gradients | MB read a video | videos/s a core feeds',
             'recipe | GPUs | seconds a step | limited by | exchange not hidden | cores a GPU needs | hours | GPU-hours | cost')
    tables = ['\n'.join([f'| {head} |', '|' + ' --- |' * (head.count('|') + 1), *(f'| {line} |' for line in lines)])
              for head, lines in zip(heads, (works, rows))]
    assumed = ', '.join(f'{name.replace("_", "-")} {value:g}' for name, value in vars(args).items()
                        if isinstance(value, (int, float)))
    page = f'{tables[0]}\n\nAssumed: {assumed}.\n\n{tables[1]}\n'
    print(page)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(args.out, page)
    print(f'The tables are in {args.out}')


if __name__ == '__main__':
    main()
