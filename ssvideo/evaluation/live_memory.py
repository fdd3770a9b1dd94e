"""What tensors take while a step runs, and of which kind they are when they take the most."""
from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

LOGITS, MASKS, REST = 'logits', 'masks', 'rest'


class LiveMemory(TorchDispatchMode):
    """Counts the bytes of the tensors that operators make within this context, as long as they live, on any device.

    What an operator takes for itself while it runs, and what was there before, does not count.

    Args:
        kind_of: names the kind of a tensor.

    Attributes:
        peak: the most bytes that lived at once.
        at_peak: bytes by kind at that moment.
        largest: the most bytes of each kind, whenever.
    """

    def __init__(self, kind_of: Callable[[Tensor], str]) -> None:
        super().__init__()
        self.kind_of = kind_of
        self.peak = 0
        self.at_peak: dict[str, int] = {}
        self.largest: Counter[str] = Counter()
        self._live: Counter[str] = Counter()
        self._known: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if not func.is_view:
            for tensor in tree_leaves(made):
                if isinstance(tensor, Tensor):
                    self._note(tensor)
        return made

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size, kind = storage._cdata, storage.nbytes(), self.kind_of(tensor)
        if key in self._known or not size:
            return
        self._known.add(key)
        self._live[kind] += size
        weakref.finalize(storage, self._forget, key, kind, size)
        self.largest[kind] = max(self.largest[kind], self._live[kind])
        if (total := self._live.total()) > self.peak:
            self.peak, self.at_peak = total, dict(self._live)

    def _forget(self, key: int, kind: str, size: int) -> None:
        self._known.discard(key)
        self._live[kind] -= size


def kind_by_shape(vocab_sizes: set[int], parameters: set[torch.Size]) -> Callable[[Tensor], str]:
    """Tell logits, masks and the rest apart.

    Args:
        vocab_sizes: widths of logits: a matrix whose last axis is as wide is one, with its gradient and copies.
        parameters: shapes of parameters, whose gradients and moments are no logits.
    """
    def kind_of(tensor: Tensor) -> str:
        if tensor.dtype in (torch.bool, torch.int8):
            return MASKS
        is_logits = tensor.ndim > 1 and tensor.shape[-1] in vocab_sizes and tensor.shape not in parameters
        return LOGITS if is_logits and tensor.is_floating_point() else REST
    return kind_of
