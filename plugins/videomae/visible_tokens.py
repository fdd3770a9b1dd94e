"""Drop hidden tokens, and put what is left back where it was."""
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ssvideo.models.layers.resize_mask import resize_mask

Grid = tuple[int, int, int]


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Move a host tensor without making the host wait for the device."""
    return (tensor.pin_memory() if device.type == 'cuda' and not tensor.is_cuda else tensor).to(device, non_blocking=True)


@dataclass
class VisibleTokens:
    """Which tokens of each clip are visible.

    Clips with fewer visible tokens than others of the batch are filled up with hidden ones, which nobody attends to.

    Args:
        places: ``(N, K)`` int64, in the flattened grid; the visible ones first, in their order.
        rows: ``(N * K,)``, the same places in the flattened batch.
        valid: ``(N, K)`` bool, False for what only fills up; ``None`` where all clips have K visible tokens.
        num_places: tokens of a grid, L.
    """
    places: Tensor
    rows: Tensor
    valid: Tensor | None
    num_places: int

    def take(self, x: Tensor) -> Tensor:
        """``(N, L, C)`` -> ``(N, K, C)``."""
        return x.flatten(0, 1).index_select(0, self.rows).view(*self.places.shape, -1)

    def take_shared(self, table: Tensor) -> Tensor:
        """Take from a table ``(L, C)`` that all clips share -> ``(N, K, C)``."""
        return table.index_select(0, self.places.flatten()).view(*self.places.shape, -1)

    def put_back(self, x: Tensor) -> Tensor:
        """``(N, K, C)`` -> ``(N, L, C)``, zero at hidden places."""
        x = x if self.valid is None else x * self.valid.unsqueeze(-1)
        empty = x.new_zeros(len(x), self.num_places, x.shape[-1])
        return empty.scatter(1, self.places.unsqueeze(-1).expand_as(x), x)

    def mean(self, x: Tensor) -> Tensor:
        """``(N, K, C)`` -> ``(N, C)``, over the visible tokens of each clip."""
        if self.valid is None:
            return x.mean(1)
        return (x * self.valid.unsqueeze(-1)).sum(1) / self.valid.sum(1, keepdim=True)

    @property
    def attention_mask(self) -> Tensor | None:
        """``(N, 1, 1, K)`` bool, True where a key may be attended to; ``None`` where all may."""
        return None if self.valid is None else self.valid[:, None, None]


@torch.compiler.disable
def visible_tokens(mask: Tensor, grid: Grid, device: torch.device) -> VisibleTokens:
    """Find the visible tokens of a batch.

    Args:
        mask: ``(N, t, h, w)`` bool or int8, hidden where not 0. On the host; from a device it is fetched, which waits.
        grid: of the patches; the mask is brought to it.
        device: of the result.

    Raises:
        ValueError: if a clip has nothing visible.
    """
    hidden = (resize_mask(mask.cpu(), grid) != 0).flatten(1)  # (N, L)
    counts = (~hidden).sum(1)
    fewest, most = int(counts.min()), int(counts.max())
    if fewest == 0:
        raise ValueError(f'nothing is visible in clip {int(counts.argmin())} of a batch, so an encoder of visible tokens has '
                         'nothing to encode: lower the mask ratio')
    places = hidden.to(torch.uint8).argsort(dim=1, stable=True)[:, :most]  # visible ones first
    rows = (places + hidden.shape[1] * torch.arange(len(places))[:, None]).flatten()
    valid = None if fewest == most else to_device(torch.arange(most) < counts[:, None], device)
    return VisibleTokens(to_device(places.contiguous(), device), to_device(rows, device), valid, hidden.shape[1])
