"""The largest batch of a recipe that fits into a GPU's memory, from the measured peaks of a step at two batch sizes.

    python tools/analysis_tools/memory_budget.py configs/vimpac_small.py configs/bevt_swin_b.py --gib 24 80 141
    python tools/analysis_tools/memory_budget.py configs/bevt_swin_b.py --cfg-options model.backbone.checkpoint_activations=[0,1]

Clips are random, and so are the weights; a tokenizer whose file is missing is one of the published size. Memory is that of
tensors: weights, the optimiser's state, gradients, activations. What kernels take for themselves, a CUDA context (some 0.5 GiB)
and what the allocator loses between tensors come on top; --spare leaves room for them. The last columns tell how much of the peak
are logits (with their gradients) and masks. With --device meta nothing is computed, so full sizes take seconds; figures are then
those of float32 with attention weights written out, an upper bound.
"""
from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault('TORCH_CPP_LOG_LEVEL', 'ERROR')

import torch  # noqa: E402
from mmengine.config import Config, DictAction  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from tqdm import tqdm  # noqa: E402

import ssvideo.engine  # noqa: E402, F401
from ssvideo.engine.launch import check_names  # noqa: E402
from ssvideo.evaluation.live_memory import LOGITS, MASKS, LiveMemory, kind_by_shape  # noqa: E402
from ssvideo.evaluation.random_batches import describe_batch, num_videos, random_batch  # noqa: E402
from ssvideo.evaluation.step_timing import TrainingStep, build_step_model  # noqa: E402
from ssvideo.models.pretrainer import Pretrainer  # noqa: E402
from ssvideo.utils.files import write_whole  # noqa: E402

AUTOCAST = 'AutocastOptimWrapper'
GIB = 2**30


@dataclass
class Peak:
    """What a step took at one batch size, in bytes; ``state`` is what is there between steps."""
    videos: int
    batch: str
    state: int
    step: int
    logits: int
    masks: int


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+', help='config files of trainings')
    parser.add_argument('--batch', type=int, nargs=2, default=(1, 2), metavar='N',
                        help='videos in the two batches; other streams keep their proportion')
    parser.add_argument('--gib', type=float, nargs='+', default=(24, 80, 141), metavar='M', help='memory of GPUs, in GiB')
    parser.add_argument('--spare', type=float, default=0.1, help='share of the memory that tensors must leave')
    parser.add_argument('--amp', action=argparse.BooleanOptionalAction,
                        help="bfloat16 autocast, or float32; default: the recipe's")
    parser.add_argument('--device', type=torch.device, default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='override all configs: key=value')
    parser.add_argument('--out', type=Path, help='also write the table to this file, in markdown')
    args = parser.parse_args(argv)
    if not 0 < args.batch[0] < args.batch[1]:
        parser.error('--batch needs two sizes, the smaller first')
    return args


@contextmanager
def without_autocast() -> Iterator[None]:
    """Within this context nobody asks for autocast, which does not know the meta device."""
    with mock.patch('torch.autocast', lambda *_, **__: nullcontext()):
        yield


def measure(cfg: Config, videos: int, amp: bool | None, device: torch.device) -> Peak:
    """The second step at a batch size, when the optimiser's state is there."""
    wrapper = cfg.optim_wrapper.copy()
    is_autocast = wrapper.get('type', '').removeprefix('ssvideo.') == AUTOCAST
    if is_autocast:  # which takes the device that mmengine finds
        wrapper.type = 'ssvideo.GuardedOptimWrapper'
    wrapper.pop('accumulative_counts', None)
    if device.type == 'meta':  # where nothing can be asked, such as the norm of the gradients
        wrapper.update(type='OptimWrapper', clip_grad=None)
        wrapper.optimizer.pop('fused', None)
        is_autocast, amp = False, False
    model, optimiser, _ = build_step_model(cfg.model, wrapper, device)
    batch = random_batch(model, cfg.train_dataloader, videos)
    step = TrainingStep(model, optimiser, batch, device, torch.bfloat16 if (is_autocast if amp is None else amp) else None)
    step()
    vocab_sizes = {module.vocab_size for module in model.modules() if isinstance(getattr(module, 'vocab_size', None), int)}
    vocab_sizes |= {size + 5 for size in vocab_sizes if isinstance(model, Pretrainer) and model.backbone.reads == 'tokens'}
    with LiveMemory(kind_by_shape(vocab_sizes, {parameter.shape for parameter in model.parameters()})) as live:
        step()
    found = Peak(num_videos(batch), describe_batch(batch), step._state(), live.peak, live.at_peak.get(LOGITS, 0),
                 live.at_peak.get(MASKS, 0))
    del model, optimiser, step
    gc.collect()
    return found


def row(name: str, small: Peak, large: Peak, gib: list[float], spare: float) -> tuple[str, ...]:
    """The line of a recipe."""
    each = (large.step - small.step) / (large.videos - small.videos)
    fixed = large.state + large.step - each * large.videos
    fits = [max(0, int((one * GIB * (1 - spare) - fixed) // each)) if each > 0 else 'take larger --batch' for one in gib]
    whole = large.state + large.step
    return (name, large.batch, f'{whole / GIB:.2f}', f'{fixed / GIB:.2f}', f'{each / GIB:.3f}', *(str(number) for number in fits),
            f'{large.logits / whole:.1%}', f'{large.masks / whole:.2%}')


def main(argv: list[str] | None = None) -> None:
    """Measure, print and write."""
    args = parse_args(argv)
    torch.manual_seed(0)
    head = ('config', 'larger batch', 'peak, GiB', 'fixed, GiB', 'GiB a video', *(f'videos in {one:g} GiB' for one in args.gib),
            'logits at the peak', 'masks at the peak')
    lines = []
    for path in tqdm(args.configs, desc='recipes', unit='recipe'):
        cfg = Config.fromfile(path)
        cfg.merge_from_dict(args.cfg_options)
        init_default_scope(cfg.get('default_scope', 'mmaction'))
        if missing := [name for name in ('model', 'train_dataloader', 'optim_wrapper') if not cfg.get(name)]:
            sys.exit(f'error: {path} has no {", ".join(missing)}: give the config of a training')
        check_names(cfg)
        with without_autocast() if args.device.type == 'meta' else nullcontext():
            peaks = [measure(cfg, size, args.amp, args.device) for size in args.batch]
        lines.append(row(Path(path).name, *peaks, args.gib, args.spare))
    page = '\n'.join('| ' + ' | '.join(cells) + ' |' for cells in (head, ['---'] * len(head), *lines))
    print(page)
    if args.out:
        write_whole(args.out, page + '\n')
        print(f'The table is in {args.out}')


if __name__ == '__main__':
    main()
