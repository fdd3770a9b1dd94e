"""VIMPAC's transformer written out."""
from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssvideo.models.backbones.divided_transformer import MASK_ROW, PAD_ROW, DividedTransformer, Residual
from ssvideo.models.layers.divided_attention import AXES, DividedAttention
from ssvideo.structures import PAD, Features


class PlainDividedTransformer(DividedTransformer):
    """Puts [CLS] in front of every line before anything is projected, projects queries, keys and values one by one, and
    writes all attention weights to memory.

    Source: VIMPAC, arXiv:2106.11250, Sec. 3.4, App. A.1, Eqs. 9-15.
    """

    knows = ()

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> Features:
        """See :meth:`Backbone.forward`."""
        pad = inputs == PAD
        positions = self.positions.temporal[:, None, None] + self.positions.height[:, None] + self.positions.width
        tokens = self.token_embedding(self._rows(inputs, mask, pad)) + positions
        cls = (self.cls_token + self.positions.cls).repeat(len(inputs), 1, 1)
        x = _dropout(self.drop, self.embedding_norm(torch.cat([cls, tokens.flatten(1, 3)], dim=1)))
        for layer in self.layers:
            for block in layer.attentions:
                x = _residual(block, x, lambda x, block=block: _attend(block.body, x, pad))
            x = _residual(layer.mlp, x, layer.mlp.body)
        x = self.final_norm(x)
        return Features(maps=(x[:, 1:].unflatten(1, self.grid),), summary=x[:, 0])

    def _rows(self, tokens: Tensor, mask: Tensor | None, pad: Tensor) -> Tensor:
        """Rows of the embedding table, chosen by boolean masks."""
        rows = tokens.clone()
        if mask is not None:
            if mask.dtype != torch.bool:
                random_ids = torch.randint_like(rows, self.vocab_size)
                rows[mask == 2] = random_ids[mask == 2]
                mask = mask == 1
            rows[mask] = self.vocab_size + MASK_ROW
        rows[pad] = self.vocab_size + PAD_ROW
        return rows


def _residual(block: Residual, x: Tensor, body) -> Tensor:
    if block.post:
        return block.norm(x + _dropout(block.drop, body(x)))
    return x + _dropout(block.drop, body(block.norm(x)))


def _dropout(layer: nn.Dropout, x: Tensor) -> Tensor:
    return F.dropout(x, layer.p, layer.training)


def _attend(attention: DividedAttention, x: Tensor, pad: Tensor) -> Tensor:
    """All branches of one attention block, ``(N, 1 + t * h * w, C)`` to the same."""
    cls, tokens = [], []
    weights, biases = (part.chunk(len(attention.branches)) for part in (attention.qkv.weight, attention.qkv.bias))
    for axes, weight, bias in zip(attention.branches, weights, biases):
        one_cls, one = _branch(attention, axes, weight.chunk(3), bias.chunk(3), x, pad)
        cls.append(one_cls)
        tokens.append(one)
    joined = torch.cat([torch.cat(cls, -1), torch.cat(tokens, -1).flatten(1, 3)], dim=1)
    return attention.out(joined)


def _branch(attention: DividedAttention, axes: str, weights, biases, x: Tensor, pad: Tensor) -> tuple[Tensor, Tensor]:
    """[CLS] ``(N, 1, D)`` and tokens ``(N, t, h, w, D)``."""
    along = [1 + AXES.index(axis) for axis in axes]
    across = [dim for dim in (1, 2, 3) if dim not in along]
    order = (0, *across, *along, 4)
    cells = x[:, 1:].unflatten(1, attention.grid).permute(order)  # (N, lines' axes, cells' axes, C)
    sizes = cells.shape[:-1]
    num_lines = math.prod(sizes[1:1 + len(across)])
    lines = cells.reshape(len(x) * num_lines, -1, x.shape[-1])
    lines = torch.cat([x[:, :1].repeat_interleave(num_lines, 0), lines], dim=1)  # (N * lines, 1 + L, C)
    hidden = F.pad(pad.permute(order[:-1]).reshape(len(lines), -1), (1, 0), value=False)  # never [CLS]
    query, key, value = (F.linear(lines, weight, bias).unflatten(-1, (-1, attention.head_dims)).transpose(1, 2)
                         for weight, bias in zip(weights, biases))
    scores = query @ key.transpose(-1, -2) / math.sqrt(attention.head_dims)
    scores = scores + torch.zeros_like(scores).masked_fill(hidden[:, None, None], -math.inf)
    attended = F.dropout(scores.softmax(-1), attention.dropout, attention.training) @ value
    attended = attended.transpose(1, 2).flatten(2)
    cls = attended[:, 0].unflatten(0, (len(x), num_lines)).mean(1, keepdim=True)
    tokens = attended[:, 1:].reshape(*sizes, -1)
    return cls, tokens.permute([order.index(dim) for dim in range(5)])
