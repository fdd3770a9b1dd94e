"""Train on two processes, as DDP does, and compare what they get."""
from __future__ import annotations

import json
import multiprocessing
import pickle
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

NUM_STEPS = 2
TIME_LIMIT = 1200
"""Seconds; only a machine that hangs needs them."""


def train_in_two_processes(module: nn.Module, batches: Sequence[tuple]) -> None:
    """Two steps on each of two processes, which talk over gloo, on the CPU.

    Args:
        module: whose output is a loss, 0-d.
        batches: arguments of the module, of each process.

    Raises:
        AssertionError: if a parameter is not used, or the processes have different gradients.
    """
    assert any(parameter.requires_grad for parameter in module.parameters()), 'There is nothing to train.'
    context = multiprocessing.get_context('spawn')
    with tempfile.TemporaryDirectory() as folder:
        payload = Path(folder) / 'payload.pickle'
        payload.write_bytes(pickle.dumps((module.cpu(), list(batches))))
        processes = [context.Process(target=_train, args=(rank, folder), daemon=True) for rank in range(len(batches))]
        for process in processes:
            process.start()
        for process in processes:
            process.join(TIME_LIMIT)
            if process.is_alive():
                process.kill()
        reports = [_read(Path(folder) / f'{rank}.json', process.exitcode) for rank, process in enumerate(processes)]
    for rank, report in enumerate(reports):
        assert not report['unused'], f'No gradient reached {report["unused"]} in process {rank}.'
        assert not report['error'], f'Process {rank} failed: {report["error"]}'
        assert not report['different'], f'The gradients of {report["different"]} differ between the processes.'


def _read(path: Path, exitcode: int | None) -> dict:
    return json.loads(path.read_text()) if path.exists() else dict(unused=[], different=[], error=f'it ended with {exitcode}')


def _train(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    report = dict(unused=[], different=[], error='')
    try:
        dist.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2,
                                timeout=timedelta(seconds=TIME_LIMIT // 2))
        module, batches = pickle.loads((Path(folder) / 'payload.pickle').read_bytes())
        report['unused'] = _unused(module, batches[rank])
        lists = [None, None]
        dist.all_gather_object(lists, report['unused'])
        if not any(lists):  # else the gradients would be waited for until the time is over
            report['different'] = _different(module, batches[rank], rank)
        dist.destroy_process_group()
    except Exception as error:  # told by the process that waits
        report['error'] = f'{type(error).__name__}: {error}'
    Path(folder, f'{rank}.json').write_text(json.dumps(report))


def _unused(module: nn.Module, batch: tuple) -> list[str]:
    module(*batch).backward()
    unused = [name for name, parameter in module.named_parameters() if parameter.requires_grad and parameter.grad is None]
    module.zero_grad()
    return unused


def _different(module: nn.Module, batch: tuple, rank: int) -> list[str]:
    """Names of the parameters whose gradients the processes do not agree on, in any of some steps."""
    wrapped, found = DistributedDataParallel(module, broadcast_buffers=False), []
    for step in range(NUM_STEPS):
        torch.manual_seed(2 * step + rank)
        wrapped.zero_grad()
        wrapped(*batch).backward()
        found += [name for name, parameter in module.named_parameters() if parameter.requires_grad and _differs(parameter.grad)]
    return found


def _differs(gradient: torch.Tensor) -> bool:
    both = [torch.empty_like(gradient) for _ in range(2)]
    dist.all_gather(both, gradient.contiguous())
    return not torch.equal(*both)
