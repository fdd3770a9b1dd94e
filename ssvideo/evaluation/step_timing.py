"""Training steps of a recipe, measured: time by part, memory, and the machine's own speed beside it."""
from __future__ import annotations

import itertools
import logging
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.config import ConfigDict
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper, build_optim_wrapper
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from ..models.classifier import ClipClassifier
from ..models.pretrainer import Pretrainer
from ..registry import MODELS
from .stand_in_tokenizers import stand_in_tokenizers

MASKS, TOKENIZER, BACKBONE = 'masks', 'tokenizer, with its view', 'backbone, forward'
HEAD, REST, BACKWARD, OPTIMISER = 'decoder and classifier, forward', 'rest', 'backward', 'clipping and optimiser'
PARTS = (MASKS, TOKENIZER, BACKBONE, HEAD, REST, BACKWARD, OPTIMISER)
"""Of a step, in order; 'rest' is what a forward pass does beside them: copying, normalising, losses, metrics."""
MATRIX_SIDES = dict(cpu=1024, cuda=8192)


@dataclass
class Meter:
    """Time of the parts of a step, and by how much each raises the peak of memory.

    A part within another counts for itself, not for the other.

    Args:
        device: whose work is waited for.
        clock: gives seconds; ``time.process_time`` leaves out what other processes make this one wait.
        seconds: by part.
        raised: bytes by part.
    """
    device: torch.device
    clock: Callable[[], float] = time.perf_counter
    seconds: Counter = field(default_factory=Counter)
    raised: Counter = field(default_factory=Counter)
    _open: list[str] = field(default_factory=list)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Measure what is done within."""
        outer = self._open[-1] if self._open else None
        self._open.append(name)
        peak, started = self.peak(), now(self.device, self.clock)
        yield
        self._open.pop()
        for figures, gained in ((self.seconds, now(self.device, self.clock) - started), (self.raised, self.peak() - peak)):
            figures[name] += gained
            if outer is not None:
                figures[outer] -= gained

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
        return process_peak()


class TrainingStep:
    """A whole training step on one batch, as often as it is called.

    Args:
        model: on ``device``.
        optimiser: of its parameters.
        batch: as the loaders give it.
        device: where it is computed.
        precision: of autocast; None leaves that to the optimiser's wrapper.
    """

    def __init__(self, model: nn.Module, optimiser: OptimWrapper, batch: dict, device: torch.device,
                 precision: torch.dtype | None = None) -> None:
        self.model, self.optimiser, self.batch, self.device, self.precision = model, optimiser, batch, device, precision

    def __call__(self, meter: Meter | None = None) -> dict[str, Tensor]:
        """Step; losses and metrics.

        Args:
            meter: measures the parts, for which the host waits for the device around each.
        """
        part = meter.part if meter else lambda name: nullcontext()
        with timed_parts(self.model, meter) if meter else nullcontext(), part(REST), self._forward_context():
            total, logged = self.model.parse_losses(self.model(**self.model.data_preprocessor(self.batch, True), mode='loss'))
        with part(BACKWARD):
            self.optimiser.backward(total)
        with part(OPTIMISER):
            self.optimiser.step()
            self.optimiser.zero_grad()
        return logged

    def seconds(self, clock: Callable[[], float] = time.perf_counter) -> float:
        """Time of one step, by a clock."""
        started = now(self.device, clock)
        self()
        return now(self.device, clock) - started

    def peak_memory(self) -> int:
        """The most bytes of tensors that live at once in one more step: weights, the optimiser's state, activations.

        What other models of this process hold does not count.
        """
        if self.device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats(self.device)
            before = torch.cuda.memory_allocated(self.device)
            self()
            return self._state() + torch.cuda.max_memory_allocated(self.device) - before
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiled:
            self()
        events = [event for event in profiled.profiler.kineto_results.events() if event.name() == '[memory]']
        changes = (event.nbytes() for event in sorted(events, key=lambda event: event.start_ns()))
        return self._state() + max(itertools.accumulate(changes), default=0)

    def _state(self) -> int:
        """Bytes of parameters, buffers and the optimiser's state."""
        own = [*self.model.parameters(), *self.model.buffers(),
               *(value for state in self.optimiser.optimizer.state.values() for value in state.values())]
        return sum({id(tensor): tensor.nbytes for tensor in own if isinstance(tensor, Tensor)}.values())

    @contextmanager
    def _forward_context(self) -> Iterator[None]:
        cast = nullcontext() if self.precision is None else torch.autocast(self.device.type, self.precision)
        with self.optimiser.optim_context(self.model), cast:
            yield


def build_step_model(model: ConfigDict, optim_wrapper: ConfigDict, device: torch.device,
                     change: Callable[[dict], dict] = dict) -> tuple[nn.Module, OptimWrapper, list[str]]:
    """Model and optimiser with random weights, and the files of tokenizers that random ones stand in for.

    Args:
        model: config of a model.
        optim_wrapper: config of its optimiser.
        device: where it is trained.
        change: makes the config that is built of the model's, whose tokenizers are there.
    """
    model = _without_init(model.to_dict())
    with tempfile.TemporaryDirectory() as folder:
        missing = stand_in_tokenizers(model, folder)
        built = MODELS.build(change(model))
    built.to(device).train()
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.ERROR)  # mmengine has a line for each parameter
    try:
        return built, build_optim_wrapper(built, optim_wrapper), missing
    finally:
        logger.setLevel(level)


@contextmanager
def timed_parts(model: nn.Module, meter: Meter) -> Iterator[None]:
    """Within this context the parts of a model's forward pass are measured; of models of other kinds none."""
    changed = []
    if isinstance(model, ClipClassifier):
        changed = [(model, 'extract_feat', BACKBONE), *([(model.tokenizer, 'forward', TOKENIZER)] if model.tokenizer else [])]
    elif isinstance(model, Pretrainer):
        changed = [(model, 'draw_mask', MASKS), (model, 'tokenize', TOKENIZER), (model, 'encode', BACKBONE),
                   *((objective, 'forward', HEAD) for objective in model.objectives.values())]
    for owner, method, name in changed:
        setattr(owner, method, meter.around(getattr(owner, method), name))
    try:
        yield
    finally:
        for owner, method, _ in changed:
            delattr(owner, method)


def process_peak() -> int:
    """The most bytes that this process has had in memory.

    The kernel's figure for a process counts what its parent had, too, as it was when the process began; that of its memory
    map, where there is one to ask, does not.
    """
    status = Path('/proc/self/status')
    if status.exists():
        line = next((line for line in status.read_text().splitlines() if line.startswith('VmHWM:')), None)
        if line is not None:
            return 1024 * int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == 'darwin' else 1024)


def matrix_peak(device: torch.device, precision: torch.dtype, seconds: float = 1.0,
                clock: Callable[[], float] = time.perf_counter) -> float:
    """The most operations per second (2 per multiply-accumulate) in products of large square matrices on this machine now.

    Args:
        device: where.
        precision: of the matrices.
        seconds: how long to try.
        clock: whose seconds the rate is for.
    """
    side = MATRIX_SIDES.get(device.type, MATRIX_SIDES['cuda'])
    a, b = (torch.randn(side, side, device=device, dtype=precision) for _ in range(2))
    fastest, ends = float('inf'), time.perf_counter() + seconds
    while time.perf_counter() < ends or fastest == float('inf'):
        started = now(device, clock)
        a @ b
        fastest = min(fastest, now(device, clock) - started)
    return 2 * side**3 / fastest


def now(device: torch.device, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds, once the device has done what it was asked to."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return clock()


def _without_init(config):
    """Weights do not matter here, and their files need not be there."""
    if isinstance(config, dict):
        return {key: _without_init(value) for key, value in config.items() if key != 'init_cfg'}
    return [_without_init(value) for value in config] if isinstance(config, list | tuple) else config
