"""Resize frames on the device, as the published pipelines resized them on the host."""
from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Literal, get_args

import torch
from torch import Tensor

Filter = Literal['lanczos4', 'lanczos']
FILTERS = get_args(Filter)


def resize_pixels(pixels: Tensor, size: tuple[int, int], method: Filter = 'lanczos4') -> Tensor:
    """Resize with a separable filter: two products with small constant matrices.

    Frames given as uint8 come out on 8-bit levels, so that a tokenizer sees the picture that the published pipelines
    showed it: within 1/255 of OpenCV's or Pillow's.

    Args:
        pixels: ``(N, 3, T, H, W)`` (any leading dimensions), uint8 or float in [0, 1].
        size: height and width wanted.
        method: ``'lanczos4'`` is OpenCV's ``INTER_LANCZOS4``, 8 taps at every scale, hence not anti-aliased (BEVT's
            released code); ``'lanczos'`` is Pillow's ``LANCZOS``, anti-aliased (BEiT).

    Returns:
        ``(N, 3, T, *size)`` in [0, 1]: float32 for uint8, else the type given.

    Raises:
        ValueError: if ``method`` is unknown, a size is not positive or ``pixels`` is of an integer type but uint8.
    """
    _check(pixels, size, method)
    eight_bit, exact = pixels.dtype == torch.uint8, _exact_type(pixels.device)
    like = eight_bit, exact, str(pixels.device)
    # Autocast would round the pixels to 8 bits of mantissa, which is coarser than the grey levels are.
    with torch.autocast(pixels.device.type, enabled=False):
        resized = pixels.to(exact)
        if pixels.shape[-1] != size[1]:
            resized = resized @ _filter_matrix(method, pixels.shape[-1], size[1], *like).T
            if eight_bit and method == 'lanczos':
                resized = _to_levels(resized)  # Pillow keeps 8 bits between its two passes
        if pixels.shape[-2] != size[0]:
            resized = _filter_matrix(method, pixels.shape[-2], size[0], *like) @ resized
        return _to_levels(resized).float() / 255 if eight_bit else resized.clamp(0, 1).to(pixels.dtype)


def _exact_type(device: torch.device) -> torch.dtype:
    """CUDA may run float32 products as TF32, whose 10 bits leave errors of two grey levels."""
    return torch.float64 if device.type == 'cuda' else torch.float32


def _to_levels(values: Tensor) -> Tensor:
    return (values + 0.5).floor().clamp(0, 255)  # halves go up, as in both libraries' fixed point


def _check(pixels: Tensor, size: tuple[int, int], method: str) -> None:
    if method not in FILTERS:
        raise ValueError(f'resize_pixels: method must be one of {FILTERS}, got {method!r}')
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f'resize_pixels: size must be (height, width), both at least 1, got {size!r}')
    if pixels.dtype != torch.uint8 and not pixels.is_floating_point():
        raise ValueError(f'resize_pixels: pixels must be uint8, or float in [0, 1], got {pixels.dtype}')


@torch.compiler.assume_constant_result
def _filter_matrix(method: str, source: int, target: int, eight_bit: bool, dtype: torch.dtype, device: str) -> Tensor:
    return _cached_filter_matrix(method, source, target, eight_bit, dtype, device)


@lru_cache(maxsize=64)
def _cached_filter_matrix(method: str, source: int, target: int, eight_bit: bool, dtype: torch.dtype,
                          device: str) -> Tensor:
    """The filter along one side as a ``(target, source)`` matrix, kept per device."""
    matrix = torch.zeros(target, source, dtype=torch.float64)
    for row in range(target):
        taps = _TAPS[method](row, source, target)
        total = sum(weight for _, weight in taps)
        for column, weight in taps:
            weight /= total
            if eight_bit and method == 'lanczos4':
                weight = round(weight * 2048) / 2048  # OpenCV's fixed point for 8-bit images
            matrix[row, min(max(column, 0), source - 1)] += weight  # beyond the border: its last pixel
    with torch.inference_mode(False):  # the kept tensor must also serve a step with gradients
        return matrix.to(device, dtype, copy=True)


def _lanczos(x: float, lobes: int) -> float:
    if abs(x) >= lobes:
        return 0.0
    return 1.0 if x == 0 else lobes * math.sin(math.pi * x) * math.sin(math.pi * x / lobes) / (math.pi * x) ** 2


def _opencv_taps(row: int, source: int, target: int) -> list[tuple[int, float]]:
    center = (row + 0.5) * source / target - 0.5
    first = math.floor(center) - 3
    return [(column, _lanczos(column - center, 4)) for column in range(first, first + 8)]


def _pillow_taps(row: int, source: int, target: int) -> list[tuple[int, float]]:
    scale = max(source / target, 1.0)
    center = (row + 0.5) * source / target
    first = max(int(center - 3 * scale + 0.5), 0)
    last = min(int(center + 3 * scale + 0.5), source)
    return [(column, _lanczos((column + 0.5 - center) / scale, 3)) for column in range(first, last)]


_TAPS: dict[str, Callable[[int, int, int], list[tuple[int, float]]]] = {
    'lanczos4': _opencv_taps, 'lanczos': _pillow_taps}
