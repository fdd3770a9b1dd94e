"""Encoder and decoder of DALL-E's discrete variational auto-encoder."""
from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

NUM_GROUPS = 4
"""Groups of blocks; a factor of two in size between each two makes the stride of 8."""


class _Conv2d(nn.Conv2d):
    """A convolution that keeps the size."""

    def __init__(self, in_dims: int, out_dims: int, kernel_size: int) -> None:
        super().__init__(in_dims, out_dims, kernel_size, padding=kernel_size // 2)

    def reset_parameters(self) -> None:
        """Zero bias and unit gain, as published."""
        nn.init.normal_(self.weight, std=self.weight[0].numel() ** -0.5)
        nn.init.zeros_(self.bias)


class _Block(nn.Module):
    """Residual block of four convolutions, ReLU before each, with a scaled residual.

    Args:
        kernel_sizes: of the four convolutions.
        gain: factor of the residual, 1 / (number of blocks)^2 as published.
    """

    def __init__(self, in_dims: int, out_dims: int, kernel_sizes: tuple[int, int, int, int], gain: float) -> None:
        super().__init__()
        hidden = out_dims // 4
        dims = (in_dims, hidden, hidden, hidden, out_dims)
        self.convs = nn.ModuleList(_Conv2d(*dims[i:i + 2], size) for i, size in enumerate(kernel_sizes))
        self.skip = nn.Identity() if in_dims == out_dims else _Conv2d(in_dims, out_dims, 1)
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        residual = x
        for conv in self.convs:
            residual = conv(F.relu(residual))
        return self.skip(x) + self.gain * residual


def _group(in_dims: int, out_dims: int, kernel_sizes: tuple[int, int, int, int], num_blocks: int) -> nn.Sequential:
    gain = 1 / (NUM_GROUPS * num_blocks) ** 2
    dims = [in_dims] + [out_dims] * num_blocks
    return nn.Sequential(*(_Block(dims[i], dims[i + 1], kernel_sizes, gain) for i in range(num_blocks)))


class DalleEncoder(nn.Module):
    """Pictures to logits over the vocabulary at one eighth of the size.

    Args:
        hidden_dims: width of the first group; the next are 2, 4 and 8 times as wide. Published: 256.
        num_blocks: residual blocks per group. Published: 2.
        vocab_size: number of ids. Published: 8192.

    Source: DALL-E, arXiv:2102.12092, App. A.1, and its released code.
    """

    def __init__(self, hidden_dims: int, num_blocks: int, vocab_size: int) -> None:
        super().__init__()
        _check_sizes(hidden_dims=hidden_dims, num_blocks=num_blocks, vocab_size=vocab_size)
        dims = [hidden_dims, *(hidden_dims * 2 ** i for i in range(NUM_GROUPS))]
        self.stem = _Conv2d(3, hidden_dims, 7)
        self.groups = nn.ModuleList(
            _group(dims[i], dims[i + 1], (3, 3, 3, 1), num_blocks) for i in range(NUM_GROUPS))
        self.head = _Conv2d(dims[-1], vocab_size, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """``(N, 3, H, W)``, mapped by :func:`squeeze_range` -> logits ``(N, vocab_size, H / 8, W / 8)``."""
        x = self.stem(pictures)
        for i, group in enumerate(self.groups):
            x = group(x if i == 0 else F.max_pool2d(x, 2))
        return self.head(F.relu(x))


class DalleDecoder(nn.Module):
    """One-hot or soft ids to the parameters of a distribution over pictures.

    Args:
        hidden_dims: width of the last group; the ones before are 2, 4 and 8 times as wide. Published: 256.
        num_blocks: residual blocks per group. Published: 2.
        vocab_size: number of ids. Published: 8192.
        input_dims: width of the embedding of an id. Published: 128.

    Source: DALL-E, arXiv:2102.12092, App. A.1, and its released code.
    """

    def __init__(self, hidden_dims: int, num_blocks: int, vocab_size: int, input_dims: int) -> None:
        super().__init__()
        _check_sizes(hidden_dims=hidden_dims, num_blocks=num_blocks, vocab_size=vocab_size, input_dims=input_dims)
        dims = [input_dims, *(hidden_dims * 2 ** i for i in reversed(range(NUM_GROUPS)))]
        self.stem = _Conv2d(vocab_size, input_dims, 1)
        self.groups = nn.ModuleList(
            _group(dims[i], dims[i + 1], (1, 3, 3, 3), num_blocks) for i in range(NUM_GROUPS))
        self.head = _Conv2d(hidden_dims, 6, 1)

    def forward(self, ids: Tensor) -> Tensor:
        """Soft or one-hot ids ``(N, vocab_size, h, w)`` -> ``(N, 6, 8 h, 8 w)``: location, then log scale, per channel."""
        return self.from_embedding(self.stem(ids))

    def embed(self, tokens: Tensor) -> Tensor:
        """``(N, h, w)`` int64 -> ``(N, input_dims, h, w)``: what the stem makes of their one-hot vectors."""
        embedding = F.embedding(tokens, self.stem.weight[:, :, 0, 0].T) + self.stem.bias
        return embedding.permute(0, 3, 1, 2)

    def from_embedding(self, x: Tensor) -> Tensor:
        """``(N, input_dims, h, w)`` -> ``(N, 6, 8 h, 8 w)``."""
        for i, group in enumerate(self.groups):
            x = group(x if i == 0 else F.interpolate(x, scale_factor=2, mode='nearest'))
        return self.head(F.relu(x))


def squeeze_range(pictures: Tensor) -> Tensor:
    """Take [0, 1] to [0.1, 0.9], where the logit is finite (App. A.3 of DALL-E)."""
    return 0.8 * pictures + 0.1


def picture_of(outputs: Tensor) -> Tensor:
    """The location part of a decoder's ``(N, 6, H, W)`` as pictures ``(N, 3, H, W)`` in [0, 1]."""
    return ((outputs[:, :3].sigmoid() - 0.1) / 0.8).clamp(0, 1)


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if not isinstance(size, int) or size < 1:
            raise ValueError(f'DALL-E dVAE: {name} must be a positive integer, got {size!r}')
    if sizes['hidden_dims'] % 4:
        raise ValueError(f'DALL-E dVAE: hidden_dims must divide by 4, got {sizes["hidden_dims"]}')
