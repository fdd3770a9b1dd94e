"""Encoder and decoder of PeCo's vector-quantised auto-encoder."""
from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


def _norm(dims: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(32, dims), dims)


def _conv(in_dims: int, out_dims: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_dims, out_dims, 3, stride, padding=1)


class _Block(nn.Module):
    """Residual block of two convolutions, group norm and SiLU before each."""

    def __init__(self, in_dims: int, out_dims: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([_norm(in_dims), _norm(out_dims)])
        self.convs = nn.ModuleList([_conv(in_dims, out_dims), _conv(out_dims, out_dims)])
        self.skip = nn.Identity() if in_dims == out_dims else nn.Conv2d(in_dims, out_dims, 1)

    def forward(self, x: Tensor) -> Tensor:
        residual = x
        for norm, conv in zip(self.norms, self.convs):
            residual = conv(F.silu(norm(residual)))
        return self.skip(x) + residual


class _Attention(nn.Module):
    """Every position attends to all others of its picture; one head."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.norm = _norm(dims)
        self.qkv = nn.Conv2d(dims, 3 * dims, 1)
        self.out = nn.Conv2d(dims, dims, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).flatten(2).transpose(1, 2).unsqueeze(1).chunk(3, dim=-1)  # (M, 1, h * w, C)
        attended = F.scaled_dot_product_attention(q, k, v).squeeze(1).transpose(1, 2)
        return x + self.out(attended.unflatten(2, x.shape[-2:]))


def _stage(in_dims: int, out_dims: int, num_blocks: int, attention: bool) -> nn.Sequential:
    dims = [in_dims] + [out_dims] * num_blocks
    blocks = [_Block(dims[i], dims[i + 1]) for i in range(num_blocks)]
    return nn.Sequential(*blocks, *([_Attention(out_dims)] if attention else []))


class PecoEncoder(nn.Module):
    """Pictures to feature vectors at ``1 / 2 ** (len(widths) - 1)`` of the size.

    Args:
        widths: channels of each stage; the size is halved between each two, so that five make the stride of 16.
        num_blocks: residual blocks of a stage.
        code_dims: C, width of a code.
        attention: whether the last, smallest stage ends with self-attention.

    Attributes:
        stride: pixels between two features.

    Raises:
        ValueError: for a size that is no positive integer.
    """

    def __init__(self, widths: Sequence[int], num_blocks: int, code_dims: int, attention: bool) -> None:
        super().__init__()
        _check_sizes(widths, num_blocks, code_dims)
        last = len(widths) - 1
        self.stride = 2 ** last
        self.stem = _conv(3, widths[0])
        self.stages = nn.ModuleList(
            _stage(widths[i], width, num_blocks, attention and i == last) for i, width in enumerate(widths))
        self.downs = nn.ModuleList(_conv(widths[i], widths[i + 1], stride=2) for i in range(last))
        self.norm = _norm(widths[-1])
        self.head = nn.Conv2d(widths[-1], code_dims, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """``(M, 3, H, W)`` in [0, 1] -> features ``(M, C, h, w)``."""
        x = self.stages[0](self.stem(2 * pictures - 1))
        for down, stage in zip(self.downs, self.stages[1:]):
            x = stage(down(x))
        return self.head(F.silu(self.norm(x)))


class PecoDecoder(nn.Module):
    """Codes to pictures, the encoder's way back.

    Args:
        widths: as the encoder's; the decoder goes through them from the last to the first.
        num_blocks: residual blocks of a stage.
        code_dims: C, width of a code.
        attention: whether the first, smallest stage ends with self-attention.

    Raises:
        ValueError: for a size that is no positive integer.
    """

    def __init__(self, widths: Sequence[int], num_blocks: int, code_dims: int, attention: bool) -> None:
        super().__init__()
        _check_sizes(widths, num_blocks, code_dims)
        widths = widths[::-1]
        self.stem = _conv(code_dims, widths[0])
        self.stages = nn.ModuleList(
            _stage(widths[i], width, num_blocks, attention and i == 0) for i, width in enumerate(widths))
        self.ups = nn.ModuleList(_conv(widths[i], widths[i + 1]) for i in range(len(widths) - 1))
        self.norm = _norm(widths[-1])
        self.head = _conv(widths[-1], 3)

    def forward(self, codes: Tensor) -> Tensor:
        """``(M, C, h, w)`` -> pictures ``(M, 3, H, W)``, about [0, 1] and not clamped to it."""
        x = self.stages[0](self.stem(codes))
        for up, stage in zip(self.ups, self.stages[1:]):
            x = stage(up(F.interpolate(x, scale_factor=2, mode='nearest')))
        return self.head(F.silu(self.norm(x))) / 2 + 0.5


def _check_sizes(widths: Sequence[int], num_blocks: int, code_dims: int) -> None:
    sizes = [*widths, num_blocks, code_dims]
    if not len(widths) or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ValueError('PeCo: widths (one for each stage), num_blocks and code_dims must be positive integers, got '
                         f'widths={tuple(widths)}, num_blocks={num_blocks}, code_dims={code_dims}')
