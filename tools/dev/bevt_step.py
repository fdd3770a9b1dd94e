"""One training step of a BEVT recipe at full size: that it runs, the time of its parts, and its memory.

    python tools/dev/bevt_step.py --out work_dirs/bevt_step.md
    python tools/dev/bevt_step.py --cfg-options optim_wrapper.type=OptimWrapper    # float32

The recipe's bfloat16 takes several times as long as float32 on a CPU that does not have it. Frames are random, and so are the
weights; a tokenizer whose file is missing is one of the published size with random weights. Every tensor that an operator of
the step makes is looked at, to show that logits exist for hidden positions only.
"""
from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch  # noqa: E402
from mmengine.config import Config, DictAction  # noqa: E402
from mmengine.device import get_device  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

import ssvideo.engine  # noqa: E402, F401
from ssvideo.evaluation.random_batches import describe_batch, random_batch  # noqa: E402
from ssvideo.evaluation.step_timing import PARTS, Meter, TrainingStep, build_step_model  # noqa: E402
from ssvideo.models.pretrainer import Pretrainer  # noqa: E402
from ssvideo.structures import Clips  # noqa: E402
from ssvideo.utils.files import write_whole  # noqa: E402


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', default='configs/bevt_swin_b.py')
    parser.add_argument('--videos', type=int, default=1, help='clips in the batch')
    parser.add_argument('--images', type=int, default=8, help='images in the batch')
    parser.add_argument('--shape', type=int, nargs=3, default=(16, 224, 224), metavar=('T', 'H', 'W'), help='of a clip')
    parser.add_argument('--steps', type=int, default=1, help='steps, of which the last is told; a GPU needs some to warm up')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='override the config: key=value')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/bevt_step.md'))
    return parser.parse_args(argv)


class LogitsWatch(TorchDispatchMode):
    """Notes how many rows the tensors have whose last axis is as wide as the vocabulary: logits, their gradients, copies.

    Args:
        vocab_size: number of ids.

    Attributes:
        rows: numbers of rows that were seen.
    """

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.vocab_size, self.rows = vocab_size, set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if isinstance(tensor, Tensor) and tensor.ndim > 1 and tensor.shape[-1] == self.vocab_size:
                rows = tensor.numel() // self.vocab_size
                # a view shows what is there already, such as the classifier's weights transposed; a single row is its bias
                if rows > 1 and not func.is_view:
                    self.rows.add(rows)
        return made


# -------------------------------------------------------------------------------------------------------------- the page

def table_of(meter: Meter) -> str:
    """The parts in markdown."""
    total = sum(meter.seconds.values())
    lines = ['| part | seconds | share | raises the peak of memory by |', '| --- | --- | --- | --- |']
    for name in PARTS:
        lines.append(f'| {name} | {meter.seconds[name]:.4g} | {meter.seconds[name] / total:.2%} | '
                     f'{meter.raised[name] / 2**30:.2f} GiB |')
    lines.append(f'| step | {total:.4g} | 100% | {sum(meter.raised.values()) / 2**30:.2f} GiB |')
    return '\n'.join(lines)


def remarks_on(logits: LogitsWatch, logged: dict[str, Tensor], batch: dict, model: Pretrainer) -> list[str]:
    """What was found about logits."""
    hidden, counts = set(), []
    for stream, samples in batch.items():
        shape = len(samples['inputs']), *samples['inputs'][0].shape[1:]  # (N, 3, T, H, W)
        num_tokens = shape[0] * math.prod(model.token_grid(Clips(frames=torch.empty(shape, device='meta'))))
        num_hidden = round(float(logged[f'{stream}_mask_ratio']) * num_tokens)
        hidden.add(num_hidden)
        counts.append(f'{num_hidden} of {num_tokens} ({stream})')
    never_visible = max(logits.rows, default=0) <= max(hidden)
    verdict = 'logits never exist for visible positions' if never_visible else 'MORE than the hidden positions'
    return [f'- Hidden positions: {", ".join(counts)}.',
            f'- Rows of the tensors as wide as the vocabulary ({logits.vocab_size}): {sorted(logits.rows)}; {verdict}.']


def main(argv: list[str] | None = None) -> None:
    """Step, print and write."""
    args = parse_args(argv)
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    torch.manual_seed(0)
    device = torch.device(get_device())
    model, optimiser, missing = build_step_model(cfg.model, cfg.optim_wrapper, device)
    for stream, loader in cfg.train_dataloader.items():
        loader.batch_size = args.images if stream == 'image' else args.videos
    batch = random_batch(model, cfg.train_dataloader, shape=args.shape)
    step = TrainingStep(model, optimiser, batch, device)
    for _ in range(args.steps):
        start = Meter(device).peak()
        meter, logits = Meter(device), LogitsWatch(next(iter(model.tokenizers.values())).vocab_size)
        with logits:
            logged = step(meter)
    where = torch.cuda.get_device_name(device) if device.type == 'cuda' else f'CPU, {torch.get_num_threads()} threads'
    losses = ', '.join(f'{name} {value.item():.3f}' for name, value in logged.items() if name.endswith('_loss'))
    page = '\n'.join([
        f'### One step of {args.config}', '', f'{describe_batch(batch)}; {type(optimiser).__name__}; {where}', '',
        table_of(meter), '',
        f'- Peak memory: {meter.peak() / 2**30:.2f} GiB; before the step {start / 2**30:.2f} GiB.',
        *remarks_on(logits, logged, batch, model), f'- Losses: {losses}.',
        *(f'- {path} does not exist: a tokenizer of the published size with random weights.' for path in missing)]) + '\n'
    write_whole(args.out, page)
    print(f'{page}\nThe page is in {args.out}')


if __name__ == '__main__':
    main()
