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
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch  # noqa: E402
from mmengine.config import Config, DictAction  # noqa: E402
from mmengine.device import get_device  # noqa: E402
from mmengine.optim import OptimWrapper, build_optim_wrapper  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

import ssvideo.engine  # noqa: E402, F401
from ssvideo.evaluation.stand_in_tokenizers import stand_in_tokenizers  # noqa: E402
from ssvideo.models.pretrainer import Pretrainer  # noqa: E402
from ssvideo.registry import MODELS  # noqa: E402
from ssvideo.structures import Clips  # noqa: E402
from ssvideo.utils.files import write_whole  # noqa: E402

PARTS = {'draw_mask': 'masks', 'tokenize': 'tokenizer, with its view', 'encode': 'backbone, forward'}
HEAD, BACKWARD, OPTIMISER, REST = 'decoder and classifier, forward', 'backward', 'clipping and optimiser', 'rest'


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


# -------------------------------------------------------------------------------------------------------------- measuring

@dataclass
class Meter:
    """Time of the parts of a step, and by how much each raises the peak of memory.

    Args:
        device: whose work is waited for.
        seconds: by part.
        raised: bytes by part.
    """
    device: torch.device
    seconds: Counter = field(default_factory=Counter)
    raised: Counter = field(default_factory=Counter)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Measure what is done within."""
        peak, started = self.peak(), self._now()
        yield
        self.seconds[name] += self._now() - started
        self.raised[name] += self.peak() - peak

    def around(self, function: Callable, name: str) -> Callable:
        """The same function, measured."""
        def timed(*args, **kwargs):
            with self.part(name):
                return function(*args, **kwargs)
        return timed

    def peak(self) -> int:
        """The most bytes so far, of this process or on the GPU."""
        if self.device.type == 'cuda':
            return torch.cuda.max_memory_allocated(self.device)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == 'darwin' else 1024)

    def _now(self) -> float:
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


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


# ------------------------------------------------------------------------------------------------------------- the step

def build(cfg: Config, device: torch.device) -> tuple[Pretrainer, OptimWrapper, list[str]]:
    """Model and optimiser, and the files of tokenizers that random ones stand in for."""
    with tempfile.TemporaryDirectory() as folder:
        missing = stand_in_tokenizers(cfg.model, folder)
        model = MODELS.build(cfg.model)
    model.to(device).train()
    return model, build_optim_wrapper(model, cfg.optim_wrapper), missing


def batch_of(model: Pretrainer, videos: int, images: int, shape: tuple[int, int, int]) -> dict:
    """Random frames for each stream, as the loaders give them; the stream 'image' has clips of one frame."""
    generator, batch = torch.Generator().manual_seed(0), {}
    for stream in model.maskers:
        number, length = (images, 1) if stream == 'image' else (videos, shape[0])
        clips = torch.randint(256, (number, 1, 3, length, *shape[1:]), dtype=torch.uint8, generator=generator)
        batch[stream] = dict(inputs=list(clips))
    return batch


def step(model: Pretrainer, optimiser: OptimWrapper, batch: dict, meter: Meter) -> dict[str, Tensor]:
    """One whole step, timed by parts; losses and metrics."""
    with _timed(model, meter), meter.part('forward'), optimiser.optim_context(model):
        total, logged = model.parse_losses(model(**model.data_preprocessor(batch, True), mode='loss'))
    with meter.part(BACKWARD):
        optimiser.backward(total)
    with meter.part(OPTIMISER):
        optimiser.step()
        optimiser.zero_grad()
    for figures in (meter.seconds, meter.raised):
        figures[REST] = figures.pop('forward') - sum(figures[name] for name in (*PARTS.values(), HEAD))
    return logged


@contextmanager
def _timed(model: Pretrainer, meter: Meter) -> Iterator[None]:
    """Within this context the steps of ``Pretrainer.loss`` are timed."""
    changed = [*((model, method, name) for method, name in PARTS.items()),
               *((objective, 'forward', HEAD) for objective in model.objectives.values())]
    for owner, method, name in changed:
        setattr(owner, method, meter.around(getattr(owner, method), name))
    yield
    for owner, method, _ in changed:
        delattr(owner, method)


# -------------------------------------------------------------------------------------------------------------- the page

def table_of(meter: Meter) -> str:
    """The parts in markdown."""
    total = sum(meter.seconds.values())
    lines = ['| part | seconds | share | raises the peak of memory by |', '| --- | --- | --- | --- |']
    for name in (*PARTS.values(), HEAD, REST, BACKWARD, OPTIMISER):
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
    verdict = 'logits never exist for visible positions' if logits.rows <= hidden else 'MORE than the hidden positions'
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
    model, optimiser, missing = build(cfg, device)
    batch = batch_of(model, args.videos, args.images, tuple(args.shape))
    for _ in range(args.steps):
        start = Meter(device).peak()
        meter, logits = Meter(device), LogitsWatch(next(iter(model.tokenizers.values())).vocab_size)
        with logits:
            logged = step(model, optimiser, batch, meter)
    where = torch.cuda.get_device_name(device) if device.type == 'cuda' else f'CPU, {torch.get_num_threads()} threads'
    clips = ', '.join(f'{len(samples["inputs"])} of {" x ".join(map(str, samples["inputs"][0].shape[2:]))} ({stream})'
                      for stream, samples in batch.items())
    losses = ', '.join(f'{name} {value.item():.3f}' for name, value in logged.items() if name.endswith('_loss'))
    page = '\n'.join([
        f'### One step of {args.config}', '', f'{clips}; {type(optimiser).__name__}; {where}', '', table_of(meter), '',
        f'- Peak memory: {meter.peak() / 2**30:.2f} GiB; before the step {start / 2**30:.2f} GiB.',
        *remarks_on(logits, logged, batch, model), f'- Losses: {losses}.',
        *(f'- {path} does not exist: a tokenizer of the published size with random weights.' for path in missing)]) + '\n'
    write_whole(args.out, page)
    print(f'{page}\nThe page is in {args.out}')


if __name__ == '__main__':
    main()
