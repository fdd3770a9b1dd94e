from __future__ import annotations

import cv2
import numpy as np
import pytest
from mmaction.datasets.transforms import RandomCrop, RandomRescale
from PIL import Image

from ssvideo.datasets.transforms import RandomRescaledCrop


def ramp(height: int = 256, width: int = 340) -> np.ndarray:
    """Red says where a pixel is from the left, green from the top, in 255ths of the frame."""
    y, x = np.mgrid[:height, :width]
    return np.stack([(x + 0.5) / width * 255, (y + 0.5) / height * 255, 0 * x], -1).round().astype(np.uint8)


def blots(height: int = 256, width: int = 340) -> np.ndarray:
    rng = np.random.default_rng(0)
    return cv2.resize(rng.integers(0, 256, (height // 4, width // 4, 3)).astype(np.uint8), (width, height))


def cropped(image: np.ndarray, seed: int = 0, transform=None, **more) -> dict:
    np.random.seed(seed)
    transform = transform or RandomRescaledCrop(224, (256, 320))
    return transform.transform(dict(imgs=[image, 255 - image], img_shape=image.shape[:2], **more))


@pytest.mark.parametrize('interpolation', ['bicubic', 'bilinear'])
@pytest.mark.parametrize('size', [(256, 340), (720, 480), (120, 90)])
def test_random_rescaled_crop__is_a_crop_enlarged_as_opencv_does_or_shrunk_as_pillow_does(size, interpolation):
    image = blots(*size)
    for seed in range(5):
        results = cropped(image, seed, RandomRescaledCrop(224, (256, 320), interpolation))
        (x, y, w, h), (height, width) = results['crop_quadruple'], size
        side = round(w * width)
        left, top = round(x * width), round(y * height)
        assert side == round(h * height) == round(min(size) * 224 / results['short_edge'])
        square = image[top:top + side, left:left + side]
        if side <= 224:
            kind = cv2.INTER_CUBIC if interpolation == 'bicubic' else cv2.INTER_LINEAR
            expected = cv2.resize(square, (224, 224), interpolation=kind).astype(int)
        else:
            expected = np.asarray(Image.fromarray(square).resize((224, 224), Image.Resampling[interpolation.upper()])).astype(int)
        first, second = results['imgs']
        assert first.shape == (224, 224, 3) and first.dtype == np.uint8
        assert np.abs(first - expected).max() <= 2
        assert np.abs(second - (255 - expected)).max() <= 2  # the same square of every frame


def test_random_rescaled_crop__draws_what_mmactions_two_transforms_draw():
    """Where the square's corner and its opposite lie in the frame: the same means and deviations in 1000 draws."""
    image = ramp()

    def corners(*transforms):
        found = []
        for seed in range(1000):
            np.random.seed(seed)
            results = dict(imgs=[image], img_shape=(256, 340), modality='RGB')
            for transform in transforms:
                results = transform.transform(results)
            picture = results['imgs'][0].astype(int)
            found.append([*picture[2, 2, :2], *picture[-3, -3, :2]])
        return np.array(found)

    ours = corners(RandomRescaledCrop(224, (256, 320)))
    theirs = corners(RandomRescale((256, 320), interpolation='bicubic'), RandomCrop(224))
    assert np.abs(ours.mean(0) - theirs.mean(0)).max() < 3  # standard error 1.5
    assert np.abs(ours.std(0) / theirs.std(0) - 1).max() < 0.08
    assert np.abs(ours.min(0) - theirs.min(0)).max() <= 3 and np.abs(ours.max(0) - theirs.max(0)).max() <= 3


def test_random_rescaled_crop__reaches_every_edge_and_keeps_within_a_former_crop():
    tiny = [cropped(ramp(8, 8), seed, RandomRescaledCrop(7, (8, 8)))['crop_quadruple'] for seed in range(50)]
    assert {tuple((box[:2] * 8).round().astype(int)) for box in tiny} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    inside = cropped(ramp(8, 8), 0, RandomRescaledCrop(7, (8, 8)), crop_quadruple=np.array([0.5, 0, 0.5, 1]))
    x, y, w, h = inside['crop_quadruple']
    assert w == 0.5 * 7 / 8 and h == 7 / 8 and 0.5 <= x <= 0.5 + 1 / 16 and y <= 1 / 8


@pytest.mark.parametrize('arguments', [(0, (8, 9)), (8, (7, 9)), (8, (10, 9)), (8, (9,)), (8, (8, 9), 'area')])
def test_random_rescaled_crop__refuses_what_makes_no_sense(arguments):
    with pytest.raises(ValueError, match='RandomRescaledCrop: expected'):
        RandomRescaledCrop(*arguments)
