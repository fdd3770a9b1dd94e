"""Losses over the clips of several batches, of which only one at a time fits into memory."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from mmengine.dist import all_gather, get_rank, get_world_size
from mmengine.runner import Runner
from torch import Tensor

from ..structures import ComparedBatches
from .hooks.bare_model import bare_model
from .streams import ZippedLoader


def num_batches_compared(model: torch.nn.Module, loaders: ZippedLoader, accumulative_counts: int) -> int:
    """How many batches in a row the objectives with ``num_pairs`` compare; 1 where there is none.

    Args:
        model: a ``Pretrainer``, or a model without objectives.
        loaders: of its streams.
        accumulative_counts: batches of an optimiser step.

    Raises:
        ValueError: if ``num_pairs`` is not made up of whole batches of all processes, an optimiser step not of whole
            comparisons, or objectives disagree.
    """
    found = {}
    for name, objective in getattr(model, 'objectives', {}).items():
        for stream, loader in loaders.loaders.items():
            if getattr(objective, 'num_pairs', None) and (objective.streams is None or stream in objective.streams):
                pairs = loader.batch_size * get_world_size()
                place = (f'objective {name!r}, stream {stream!r}: num_pairs={objective.num_pairs}, with batches of '
                         f'{loader.batch_size} on {get_world_size()} process(es) and '
                         f'accumulative_counts={accumulative_counts}')
                size, rest = divmod(objective.num_pairs, pairs)
                if rest or not size:
                    raise ValueError(f'{place}: must be a multiple of batch size x processes = {pairs}')
                if accumulative_counts % size:
                    raise ValueError(f'{place}: {size} batches are compared together, so accumulative_counts must be '
                                     f'a multiple of {size}')
                found[place] = size
    if len(set(found.values())) > 1:
        raise ValueError('all objectives must compare the same number of batches: ' + '; '.join(found))
    return next(iter(found.values()), 1)


@torch.no_grad()
def compare_batches(runner: Runner, batches: Sequence[Mapping], seed_model: Callable[[int], None]) -> Iterator[ComparedBatches]:
    """Encode the batches of the coming steps without a gradient, and yield what each of these steps is to compare.

    A step then encodes its batch again, with a gradient and the same masks and dropout, because both are functions of
    the iteration. So the gradients of the steps add up to that of one loss over all their clips, and memory is that
    of one batch.

    Args:
        runner: at the first of these steps.
        batches: what the loaders gave for them.
        seed_model: seeds what the model draws in the given iteration.
    """
    model, hub, first = bare_model(runner), runner.message_hub, runner.iter
    with runner.optim_wrapper.optim_context(runner.model):
        found = []
        for step, batch in enumerate(batches):
            hub.update_info('iter', first + step)  # the masks'
            seed_model(first + step)
            found.append(model.summarize(model.data_preprocessor(batch, training=True)['inputs']))
    summaries = {key: _of_all_processes(torch.stack([one[key] for one in found])) for key in found[0]}
    for step in range(len(batches)):
        yield ComparedBatches(summaries, place=get_rank() * len(batches) + step)


def _of_all_processes(summaries: Tensor) -> Tensor:
    """``(steps, N, C)`` -> ``(processes * steps, N, C)``."""
    return torch.cat(all_gather(summaries))
