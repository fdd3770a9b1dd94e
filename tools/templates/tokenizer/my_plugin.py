"""Mean colours of cells as tokens."""
from __future__ import annotations

import torch
from torch import Tensor

from ssvideo.models.tokenizers import Tokenizer
from ssvideo.registry import MODELS


@MODELS.register_module()
class MyPlugin(Tokenizer):
    """The id of a cell is its mean colour, each channel rounded to one of a few levels; nothing is learnt.

    Args:
        levels: of each channel, so that there are ``levels ** 3`` ids.
        cell: pixels of height and width of a cell.

    Raises:
        ValueError: if ``levels`` or ``cell`` cannot be used.
    """
    independent_frames = True

    def __init__(self, levels: int = 3, cell: int = 8) -> None:
        super().__init__()
        if levels < 2 or cell < 1:
            raise ValueError(f'MyPlugin: levels must be at least 2 and cell at least 1, got {levels} and {cell}')
        self.levels, self.cell = levels, cell
        self.vocab_size = levels ** 3
        self.stride = (1, cell, cell)

    def forward(self, pixels: Tensor) -> Tensor:
        """``(N, 3, T, H, W)`` in [0, 1] -> ``(N, t, h, w)`` int64."""
        means = pixels.unflatten(4, (-1, self.cell)).unflatten(3, (-1, self.cell)).mean((4, 6))  # (N, 3, t, h, w)
        red, green, blue = (means * (self.levels - 1)).round().long().unbind(1)
        return (red * self.levels + green) * self.levels + blue

    def decode(self, tokens: Tensor) -> Tensor:
        """``(N, t, h, w)`` -> ``(N, 3, T, H, W)``: every cell in its colour."""
        digits = tokens // self.levels ** 2, tokens // self.levels % self.levels, tokens % self.levels
        colours = torch.stack(digits, dim=1) / (self.levels - 1)  # (N, 3, t, h, w)
        return colours.repeat_interleave(self.cell, 3).repeat_interleave(self.cell, 4)
