"""No decoder at all."""
from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor

from ssvideo.registry import MODELS


@MODELS.register_module()
class LastMap(BaseModule):
    """Hands on the last map of a backbone whose patches are the tokens, as a ViT's are; it has no weights.

    Args:
        channels: C of the backbone's maps; the last is read.

    Attributes:
        out_channels: C of the output.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.out_channels = channels[-1]

    def forward(self, maps: Sequence[Tensor], grid: tuple[int, int, int]) -> Tensor:
        """``(N, *grid, out_channels)``, the last of ``maps``.

        Raises:
            ValueError: if it has another grid.
        """
        if tuple(maps[-1].shape[1:4]) != tuple(grid):
            raise ValueError(f'LastMap: the token grid is {tuple(grid)}, but the last map has {tuple(maps[-1].shape[1:4])}; '
                             'use a decoder that brings it there, such as ssvideo.SwinDecoder')
        return maps[-1]
