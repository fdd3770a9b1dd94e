"""Small classifiers on frozen features, many of a kind side by side.

G is the number of probes. Every weight has them as its leading axis; a probe's scores depend on its own slices alone.
"""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEAD_DIMS = 64
"""Channels of an attention head, where there are as many."""


class Linears(nn.Module):
    """G linear layers that begin alike.

    Args:
        num_probes: G.
        in_dims: of the inputs.
        out_dims: of the outputs.
        zero: begin with weights of 0, as biases do.
    """

    def __init__(self, num_probes: int, in_dims: int, out_dims: int, zero: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_probes, out_dims, in_dims)) if zero else _alike(num_probes, out_dims, in_dims)
        self.bias = nn.Parameter(torch.zeros(num_probes, out_dims))

    def forward(self, x: Tensor) -> Tensor:
        """``(G, B, in_dims)``, or ``(B, in_dims)`` for all alike, to ``(G, B, out_dims)``."""
        return torch.einsum('bi,goi->gbo' if x.dim() == 2 else 'gbi,goi->gbo', x, self.weight) + self.bias[:, None]


class LinearProbes(Linears):
    """G linear layers on ``(B, C)``, from zero.

    Args:
        num_probes: G.
        dims: C.
        num_classes: of the scores.
    """

    def __init__(self, num_probes: int, dims: int, num_classes: int) -> None:
        super().__init__(num_probes, dims, num_classes, zero=True)


class AttentiveProbes(nn.Module):
    """G times: attention over tokens with a learned query, an MLP, a linear layer.

    There is one query, so a key projection would only ever be multiplied with it: what is learned is their product, a
    vector in the space of the tokens for each head. Values are projected after they were pooled, which is the same. So no
    token is projected at all, and a step costs about as little as with mean pooling. Norms have no scale and shift, as the
    layer behind each can learn them.

    Each token is normalised over its channels, as published, and channels are not standardised over the tokens: where few
    directions carry the features, that makes the others as loud, and the probe learns them by heart. It weighs tokens one by
    one and never compares two of them, so it sees motion only where single tokens encode it.

    Args:
        num_probes: G.
        dims: C.
        num_classes: of the scores.

    Source: V-JEPA, arXiv:2404.08471, attentive probing: cross-attention with one learned query, a residual MLP, a linear
    layer.
    """

    def __init__(self, num_probes: int, dims: int, num_classes: int) -> None:
        super().__init__()
        num_heads = max(dims // HEAD_DIMS, 1)
        while dims % num_heads:
            num_heads -= 1
        self.query = _alike(num_probes, num_heads, dims)
        self.value = _alike(num_probes, num_heads, dims // num_heads, dims)
        self.out = Linears(num_probes, dims, dims)  # its bias is the query's own way around the attention
        self.mlp = nn.Sequential(Linears(num_probes, dims, 4 * dims), nn.GELU(), Linears(num_probes, 4 * dims, dims))
        self.fc = Linears(num_probes, dims, num_classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(B, L, C)`` tokens to ``(G, B, num_classes)`` scores."""
        num_probes, num_heads, dims = self.query.shape
        tokens = F.layer_norm(tokens, (dims,))
        attention = tokens @ self.query.flatten(0, 1).t() / dims**0.5  # (B, L, G*heads)
        pooled = attention.softmax(1).transpose(1, 2) @ tokens  # (B, G*heads, C)
        pooled = pooled.unflatten(1, (num_probes, num_heads))
        x = self.out(torch.einsum('bghc,ghdc->gbhd', pooled, self.value).flatten(2))  # (G, B, C)
        return self.fc(x + self.mlp(F.layer_norm(x, (dims,))))


def _alike(num_probes: int, *shape: int) -> nn.Parameter:
    """The initial weights of one probe, for each; they keep the size of their inputs, the last axis."""
    one = nn.init.trunc_normal_(torch.empty(shape), std=shape[-1]**-0.5)
    return nn.Parameter(one.repeat(num_probes, *[1] * len(shape)))
