"""VIMPAC's transformer over video tokens."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ...registry import MODELS
from ...structures import PAD, Features
from ..layers.divided_attention import DividedAttention, line_masks, parse_layout
from ..layers.dropout import Dropout
from ..layers.linear import Linear
from ..layers.positions import GridPositions, fit_positions
from ..layers.recomputed import recompute, recomputed_parts
from .base import Backbone

NUM_SPECIAL = 5  # VIMPAC keeps five rows of the embedding table for special tokens; two are in use:
PAD_ROW = 1      # [PAD] = vocab_size + 1 (8193)
MASK_ROW = 4     # [MASK] = vocab_size + 4 (8196)
NORM_EPS = 1e-12  # BERT
INIT_STD = 0.02  # BERT


class Residual(nn.Module):
    """``norm(x + f(x))`` (post-norm) or ``x + f(norm(x))`` (pre-norm), with dropout on f's output.

    Args:
        body: f.
        dims: C.
        norm: ``'post'`` or ``'pre'``.
        dropout: probability.
    """

    def __init__(self, body: nn.Module, dims: int, norm: Literal['post', 'pre'], dropout: float) -> None:
        super().__init__()
        self.body = body
        self.norm = nn.LayerNorm(dims, eps=NORM_EPS)
        self.drop = Dropout(dropout)
        self.post = norm == 'post'

    def forward(self, x: Tensor, *context) -> Tensor:
        """Apply to ``(..., C)``; ``context`` goes to f."""
        if self.post:
            return self.norm(x + self.drop(self.body(x, *context)))
        return x + self.drop(self.body(self.norm(x), *context))


class DividedLayer(nn.Module):
    """Attention blocks one after another, then an MLP.

    Args:
        attentions: one for each block of the layout.
        mlp: the MLP.
        dims: C.
        norm: ``'post'`` or ``'pre'``.
        dropout: probability.
    """

    def __init__(self, attentions: Sequence[DividedAttention], mlp: nn.Sequential, dims: int,
                 norm: Literal['post', 'pre'], dropout: float) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(Residual(attention, dims, norm, dropout) for attention in attentions)
        self.mlp = Residual(mlp, dims, norm, dropout)

    def forward(self, x: Tensor, masks: dict[str, Tensor], rows: Tensor | None = None) -> Tensor:
        """Map ``(N, 1 + t * h * w, C)`` to the same shape, or to ``(R, C)``: the given rows of all clips, one after the other."""
        for attention in self.attentions:
            x = attention(x, masks)
        return self.mlp(x if rows is None else x.flatten(0, 1).index_select(0, rows))


@MODELS.register_module()
class DividedTransformer(Backbone):
    """A transformer over video tokens whose attention runs along lines of the grid.

    Its single map and its summary ([CLS]) come after the last norm, which is where VIMPAC's heads read.

    Args:
        grid: ``(t, h, w)`` of the clips.
        vocab_size: ids of the tokenizer; the table has five more rows, for [PAD], [MASK] and three not in use.
        embed_dims: C.
        num_layers: layers.
        num_heads: heads of each attention block, shared out among its branches.
        attention_dims: width of queries, keys and values; ``None``: C. (VIMPAC Large-Half: half of C.)
        mlp_dims: hidden width of the MLP; ``None``: 4 C. (VIMPAC Large-Half: 2 C.)
        layout: attention blocks of a layer, see :func:`parse_layout`.
        norm: ``'post'``, or ``'pre'`` (ablation: no norm after the embedding, but a final one, and smaller initial
            output projections).
        dropout: probability, of hidden states and attention weights.
        checkpoint_activations: recompute layers in the backward pass instead of keeping their activations: True for all,
            or the numbers of some, from 0.
        keep_products: of these layers, those that keep the results of matrix products: half of the activations, at little
            time. True, or numbers.
        init_cfg: mmengine's, for loading weights.

    Raises:
        ValueError: if an argument is outside of what is named here.

    Source: VIMPAC, arXiv:2106.11250, Sec. 3.4, App. A, Tables 10 and 13.
    """

    reads = 'tokens'
    knows = ('whole', 'positions')

    def __init__(self, grid: tuple[int, int, int] = (5, 16, 16), vocab_size: int = 8192, embed_dims: int = 512,
                 num_layers: int = 6, num_heads: int = 8, attention_dims: int | None = None,
                 mlp_dims: int | None = None, layout: str = 'T,H|W', norm: Literal['post', 'pre'] = 'post',
                 dropout: float = 0.1, checkpoint_activations: bool | Sequence[int] = False,
                 keep_products: bool | Sequence[int] = False, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if len(grid) != 3 or min(grid) < 1:
            raise ValueError(f'DividedTransformer: grid must be three positive numbers (t, h, w), got {grid}')
        if norm not in ('post', 'pre'):
            raise ValueError(f"DividedTransformer: norm must be 'post' or 'pre', got {norm!r}")
        self.grid = tuple(grid)
        self.vocab_size = vocab_size
        self.channels = (embed_dims,)
        self.recomputed, self.keeping = recomputed_parts('DividedTransformer: layers', num_layers, checkpoint_activations,
                                                         keep_products)
        blocks = parse_layout(layout)
        self.line_axes = sorted({axes for block in blocks for axes in block})

        attention_dims, mlp_dims = attention_dims or embed_dims, mlp_dims or 4 * embed_dims
        self.token_embedding = nn.Embedding(vocab_size + NUM_SPECIAL, embed_dims)
        self.cls_token = nn.Parameter(torch.empty(embed_dims))
        self.positions = GridPositions(self.grid, embed_dims)
        self.embedding_norm = nn.LayerNorm(embed_dims, eps=NORM_EPS) if norm == 'post' else nn.Identity()
        self.drop = Dropout(dropout)
        self.layers = nn.ModuleList(
            DividedLayer([DividedAttention(embed_dims, attention_dims, num_heads, branches, self.grid, dropout)
                          for branches in blocks],
                         nn.Sequential(Linear(embed_dims, mlp_dims), nn.GELU(), Linear(mlp_dims, embed_dims)),
                         embed_dims, norm, dropout)
            for _ in range(num_layers))
        self.final_norm = nn.LayerNorm(embed_dims, eps=NORM_EPS) if norm == 'pre' else nn.Identity()
        self.reset_parameters(num_residuals=num_layers * (len(blocks) + 1) if norm == 'pre' else 1)

    @torch.no_grad()
    def reset_parameters(self, num_residuals: int) -> None:
        """Draw the initial weights.

        Args:
            num_residuals: output projections (of attention and MLP) start smaller by the root of this number.

        Source: the authors' code.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=INIT_STD)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.token_embedding.weight, std=INIT_STD)
        for vector in (self.cls_token, self.positions.cls):
            nn.init.normal_(vector, std=INIT_STD)
        for axis in GridPositions.axes:  # three are summed
            nn.init.normal_(getattr(self.positions, axis), std=INIT_STD / math.sqrt(3))
        for layer in self.layers:
            for projection in (*(attention.body.out for attention in layer.attentions), layer.mlp.body[-1]):
                projection.weight.mul_(1 / math.sqrt(num_residuals))

    def forward(self, inputs: Tensor, mask: Tensor | None = None, whole: bool = False,
                positions: Tensor | None = None) -> Features:
        """Encode tokens, see :meth:`Backbone.forward`.

        Args:
            inputs: ``(N, t, h, w)`` int64, PAD allowed.
            mask: which of them are hidden.
            whole: True where no token is PAD. Attention then has no mask, which fused kernels like better.
            positions: ``(P,)`` int64 indices of the tokens whose features will be read; ``None``: all. The last MLP is
                then computed for them and [CLS] alone, and the map is 0 elsewhere.

        Raises:
            ValueError: if ``inputs`` are not integer tokens of the grid that the model was built for.
        """
        self._check(inputs, mask)
        x = self.embed(inputs, mask)
        visible = None if whole else inputs != PAD
        masks = {axes: line_masks(visible, self.grid, axes) for axes in self.line_axes}
        rows = None if positions is None else self._rows_of(positions, inputs.shape[0])
        for number, layer in enumerate(self.layers):
            wanted = rows if number == len(self.layers) - 1 else None
            if number in self.recomputed and torch.is_grad_enabled():
                x = recompute(layer, x, masks, wanted, keep_products=number in self.keeping)
            else:
                x = layer(x, masks, wanted)
        x = self.final_norm(x)
        if positions is None:
            cls, tokens = x.split([1, x.shape[1] - 1], dim=1)
            return Features(maps=(tokens.unflatten(1, self.grid),), summary=cls.squeeze(1))
        cls, tokens = x[:inputs.shape[0]], x[inputs.shape[0]:]
        everywhere = tokens.new_zeros(inputs.numel(), tokens.shape[1]).index_copy(0, positions, tokens)
        return Features(maps=(everywhere.view(*inputs.shape, -1),), summary=cls)

    def _rows_of(self, positions: Tensor, num_clips: int) -> Tensor:
        """Rows of the flattened ``(N, 1 + t * h * w)``: [CLS] of each clip, then the positions, which do not count [CLS]."""
        cells = math.prod(self.grid)
        cls = torch.arange(num_clips, device=positions.device) * (1 + cells)
        return torch.cat([cls, positions + positions // cells + 1])

    def embed(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """Embed tokens with their positions: ``(N, t, h, w)`` -> ``(N, 1 + t * h * w, C)``, [CLS] first."""
        x = self.token_embedding(self.hide(tokens, mask)) + self.positions()
        cls = (self.cls_token + self.positions.cls).expand(tokens.shape[0], 1, -1)  # len() would fix N in an exported graph
        return self.drop(self.embedding_norm(torch.cat([cls, x.flatten(1, 3)], dim=1)))

    def hide(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """Translate tokens into rows of the embedding table, with masked positions hidden; PAD wins over a mask."""
        rows = tokens
        if mask is not None and mask.dtype == torch.bool:
            rows = rows.masked_fill(mask, self.vocab_size + MASK_ROW)
        elif mask is not None:  # kinds, see Masker.sample; 3 keeps the token
            rows = rows.masked_fill(mask == 1, self.vocab_size + MASK_ROW)
            rows = torch.where(mask == 2, torch.randint_like(rows, self.vocab_size), rows)
        return rows.masked_fill(tokens == PAD, self.vocab_size + PAD_ROW)

    def adapt(self, state_dict: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
        """Interpolate positions learned on another grid, linearly along each axis; see :meth:`Backbone.adapt`."""
        return fit_positions(state_dict, self.grid)

    def _check(self, tokens: Tensor, mask: Tensor | None) -> None:
        if tokens.is_floating_point() or tokens.ndim != 4:
            raise ValueError('DividedTransformer reads tokens, (N, t, h, w) of integers; got '
                             f'{tuple(tokens.shape)} of {tokens.dtype}. Give pixels to a tokenizer first')
        if tuple(tokens.shape[1:]) != self.grid:
            raise ValueError(f'DividedTransformer was built with grid={self.grid} but is given tokens of grid '
                             f'{tuple(tokens.shape[1:])}; build it with that grid, its positions are interpolated '
                             'when weights are loaded')
        if mask is not None and mask.shape != tokens.shape:
            raise ValueError(f'mask {tuple(mask.shape)} does not match tokens {tuple(tokens.shape)}')
