"""The small parts that the kit puts beside a component which does not come with a config."""
from __future__ import annotations

import torch
from torch import Tensor

from ..models.backbones import Backbone, DividedTransformer, VideoSwin
from ..models.tokenizers import Tokenizer
from ..structures import MaskedTokens

GRID = (4, 4, 4)
"""Token grid ``(t, h, w)`` of the clips that components are tried with; a backbone of another one says so: ``backbone.grid``."""
NUM_CLIPS = 4
VOCAB = 16


class BrightnessIds(Tokenizer):
    """Ids: how bright a cell is, in :data:`VOCAB` steps."""
    vocab_size = VOCAB
    stride = (1, 8, 8)
    independent_frames = True

    def forward(self, pixels: Tensor) -> Tensor:
        """``(N, 3, T, H, W)`` in [0, 1] -> ``(N, T, H / 8, W / 8)`` int64."""
        return (MeanColours.forward(self, pixels).mean(-1) * VOCAB).long().clamp(0, VOCAB - 1)


class MeanColours(Tokenizer):
    """Vectors: the mean colour of a cell."""
    target_dims = 3
    stride = (1, 8, 8)
    independent_frames = True

    def forward(self, pixels: Tensor) -> Tensor:
        """``(N, 3, T, H, W)`` in [0, 1] -> ``(N, T, H / 8, W / 8, 3)``."""
        return pixels.unflatten(4, (-1, 8)).unflatten(3, (-1, 8)).mean((4, 6)).permute(0, 2, 3, 4, 1)


def companion_backbones() -> list[Backbone]:
    """A small one that reads pixels, and a small one that reads tokens."""
    swin = VideoSwin(patch_size=(2, 4, 4), embed_dims=8, depths=(1, 1, 2, 1), num_heads=(1, 2, 2, 4), window_size=(2, 4, 4))
    divided = DividedTransformer(grid=GRID, vocab_size=VOCAB, embed_dims=24, num_layers=2, num_heads=6)
    return [swin, divided]


def inputs_of(backbone: Backbone) -> Tensor:
    """Random clips as a backbone reads them, of its grid."""
    generator, grid = torch.Generator().manual_seed(0), grid_of(backbone)
    if backbone.reads == 'tokens':
        return torch.randint(backbone.vocab_size, (NUM_CLIPS, *grid), generator=generator)
    size = [cells * step for cells, step in zip(grid, backbone.token_stride)]
    return torch.randn(NUM_CLIPS, 3, *size, generator=generator)


def grid_of(backbone: Backbone) -> tuple[int, int, int]:
    """The token grid to try a backbone with: its own where it has but one."""
    return tuple(getattr(backbone, 'grid', GRID))


def masked_of(tokenizer: Tokenizer | None, grid: tuple[int, int, int]) -> MaskedTokens:
    """Random targets of a tokenizer, or ids without one, of which about a third is masked."""
    generator = torch.Generator().manual_seed(0)
    shape = NUM_CLIPS, *grid
    if tokenizer is not None and tokenizer.vocab_size is None:
        tokens = torch.randn(*shape, tokenizer.target_dims, generator=generator)
    else:
        tokens = torch.randint(VOCAB if tokenizer is None else tokenizer.vocab_size, shape, generator=generator)
    mask = torch.rand(shape, generator=generator) < 0.3
    return MaskedTokens(tokens=tokens, mask=mask, positions=mask.flatten().nonzero().squeeze(1), num_views=2)
