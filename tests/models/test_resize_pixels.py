from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from ssvideo.models.layers import resize_pixels as module
from ssvideo.models.layers.resize_pixels import resize_pixels

SIZES = [((224, 224), (112, 112)), ((64, 64), (32, 32)), ((65, 97), (31, 48)), ((57, 33), (57, 80)),
         ((16, 16), (40, 23)), ((5, 7), (3, 3)), ((90, 121), (112, 9)), ((31, 9), (64, 64)), ((3, 2), (7, 1))]


def pictures(size: tuple[int, int]) -> np.ndarray:
    """Noise (the hardest case: it overshoots at both ends) and a smooth ramp, (2, H, W, 3) uint8."""
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    ramp = np.add.outer(np.arange(size[0]), np.arange(size[1]))[..., None].repeat(3, -1)
    return np.stack([noise, (ramp * 255 // ramp.max()).astype(np.uint8)])


def to_clip(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frames).permute(3, 0, 1, 2)[None]  # (1, 3, T, H, W)


@pytest.mark.parametrize(('source', 'target'), SIZES)
def test_lanczos4__is_opencv(source, target):
    frames = pictures(source)
    expected = np.stack([cv2.resize(f, target[::-1], interpolation=cv2.INTER_LANCZOS4) for f in frames])
    ours = resize_pixels(to_clip(frames), target)
    assert ours.shape == (1, 3, 2, *target)
    assert ours.dtype == torch.float32
    difference = (ours * 255 - to_clip(expected).float()).abs()
    assert difference.max() < 1.01
    assert difference.mean() < 0.02  # a rounding here and there, no more


@pytest.mark.parametrize(('source', 'target'), SIZES)
def test_lanczos__is_pillow(source, target):
    frames = pictures(source)
    expected = np.stack([np.asarray(Image.fromarray(f).resize(target[::-1], Image.Resampling.LANCZOS)) for f in frames])
    difference = (resize_pixels(to_clip(frames), target, method='lanczos') * 255 - to_clip(expected).float()).abs()
    assert difference.max() < 1.01
    assert difference.mean() < 0.02


def test_resize_pixels__leaves_frames_of_that_size_alone():
    frames = to_clip(pictures((24, 30)))
    assert torch.equal(resize_pixels(frames, (24, 30)), frames / 255)


@pytest.mark.parametrize('method', module.FILTERS)
def test_resize_pixels__float64_as_on_cuda_gives_the_same_levels(method, monkeypatch):
    frames = to_clip(pictures((64, 50)))
    expected = resize_pixels(frames, (31, 70), method)
    monkeypatch.setattr(module, '_exact_type', lambda device: torch.float64)
    ours = resize_pixels(frames, (31, 70), method)
    assert ours.dtype == torch.float32
    difference = (ours - expected).abs() * 255
    assert difference.max() < 1.01
    assert difference.mean() < 0.001  # where a value lies half-way between two levels


def test_resize_pixels__makes_its_matrices_once():
    frames = to_clip(pictures((26, 22)))
    first = resize_pixels(frames, (13, 11))
    made = module._cached_filter_matrix.cache_info().misses
    assert torch.equal(resize_pixels(frames, (13, 11)), first)
    assert module._cached_filter_matrix.cache_info().misses == made


def test_resize_pixels__float_stays_float_and_in_range():
    frames = to_clip(pictures((64, 64)))
    ours = resize_pixels(frames.double() / 255, (32, 32))
    assert ours.dtype == torch.float64
    assert ours.min() >= 0
    assert ours.max() <= 1
    assert (ours - resize_pixels(frames, (32, 32))).abs().max() < 1.01 / 255


def test_resize_pixels__keeps_its_precision_under_autocast():
    frames = to_clip(pictures((64, 64)))
    with torch.autocast('cpu', torch.bfloat16):
        inside = resize_pixels(frames, (32, 32))
    assert torch.equal(inside, resize_pixels(frames, (32, 32)))


def test_resize_pixels__compiles_without_a_break_and_serves_inference_and_training():
    frames = to_clip(pictures((30, 30)))
    with torch.inference_mode():
        expected = resize_pixels(frames, (17, 13))
    compiled = torch.compile(lambda x: resize_pixels(x, (17, 13)), fullgraph=True, backend='eager')
    assert torch.equal(compiled(frames), expected)
    pixels = (frames / 255).requires_grad_()
    resize_pixels(pixels, (17, 13)).sum().backward()
    assert pixels.grad.abs().sum() > 0


def test_resize_pixels__says_what_is_wrong():
    frames = to_clip(pictures((16, 16)))
    with pytest.raises(ValueError, match="one of .*'lanczos4'.* got 'cubic'"):
        resize_pixels(frames, (8, 8), method='cubic')
    with pytest.raises(ValueError, match='uint8, or float'):
        resize_pixels(frames.long(), (8, 8))
    with pytest.raises(ValueError, match='at least 1'):
        resize_pixels(frames, (8, 0))
