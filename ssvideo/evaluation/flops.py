"""Multiply-accumulates of a model, part by part, counted on tensors without memory."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from unittest import mock

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from ..models.objectives.base import Objective

CHEAP = frozenset((
    '_local_scalar_dense', '_log_softmax', '_native_batch_norm_legit_no_training', '_safe_softmax', '_softmax', '_to_copy',
    '_unsafe_index', '_unsafe_view', 'all', 'amax', 'any', 'arange', 'argmax', 'avg_pool2d', 'cat', 'constant_pad_nd',
    'copy_', 'cumsum', 'embedding', 'empty', 'floor_divide', 'full', 'gather', 'index', 'index_copy', 'index_put',
    'index_select', 'linalg_vector_norm', 'max', 'max_pool2d_with_indices', 'mean', 'min', 'native_batch_norm',
    'native_group_norm', 'native_layer_norm', 'new_empty', 'new_full', 'new_zeros', 'nll_loss_forward', 'nonzero', 'ones',
    'roll', 'scalar_tensor', 'scatter', 'scatter_add', 'sort', 'stack', 'sum', 'topk', 'var', 'var_mean', 'zeros'))
"""Operators, beside pointwise ones and views, that move numbers, or compute a few operations on each: not counted."""


@dataclass(frozen=True)
class PartCost:
    """A part of a model.

    Args:
        name: its place in the model; 'rest' for what no part does.
        parameters: numbers of its own; those shared with an earlier part count there.
        macs: multiply-accumulates of its matrix products, convolutions and attention.
    """
    name: str
    parameters: int
    macs: float


def count_macs(model: nn.Module, run: Callable[[], object]) -> tuple[list[PartCost], list[str]]:
    """Count what running a model on the meta device would cost.

    Attention counts as its two products, however it is computed. Norms, activations, softmax and other pointwise work are
    not counted, as usual in published figures.

    Args:
        model: on the device 'meta'.
        run: calls the model once.

    Returns:
        The parts that have parameters or cost something: the model's children, and in their place the children of module
        dicts and objectives. And the operators that were run, are not known to be cheap, and were not counted: the figures
        leave them out.
    """
    counter, seen = FlopCounterMode(display=False), _SeenOperators()
    # Autocast does not know the meta device, and the precision does not change the count.
    with torch.no_grad(), mock.patch('torch.autocast', lambda *_, **__: nullcontext()), seen, counter:
        run()
    root = type(model).__name__
    macs = {place.removeprefix(f'{root}.'): sum(by_operator.values()) / 2
            for place, by_operator in counter.get_flop_counts().items()}
    parts, counted = [], set()
    for name, module in _parts_of(model):
        own = {id(p): p.numel() for p in module.parameters() if id(p) not in counted}
        counted |= own.keys()
        inner = sum(part.macs for part in parts if part.name.startswith(f'{name}.'))  # an opened one comes after its children
        parts.append(PartCost(name, sum(own.values()), _cost_of(name, macs) - inner))
    parts.append(PartCost('rest', 0, macs.get('Global', 0) - sum(part.macs for part in parts)))
    return [part for part in parts if part.parameters or part.macs], sorted(seen.not_counted())


def _cost_of(name: str, macs: Mapping[str, float]) -> float:
    """Of a module; of one that was not called itself, that of the modules within it that were."""
    if name in macs:
        return macs[name]
    within = [place for place in macs if place.startswith(f'{name}.')]
    return sum(macs[place] for place in within if not any(place.startswith(f'{outer}.') for outer in within))


class _SeenOperators(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operators = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.operators.add(func)
        return func(*args, **(kwargs or {}))

    def not_counted(self) -> set[str]:
        return {str(op) for op in self.operators
                if op.overloadpacket not in flop_registry and op.overloadpacket.__name__ not in CHEAP
                and torch.Tag.pointwise not in op.tags and not op.is_view}


def _parts_of(module: nn.Module, prefix: str = '') -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        if isinstance(child, nn.ModuleDict | Objective):
            yield from _parts_of(child, f'{prefix}{name}.')
        yield f'{prefix}{name}', child
