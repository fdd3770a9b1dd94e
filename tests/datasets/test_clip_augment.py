"""Augmentations that act on the frames of a clip alike."""
import numpy as np
import pytest
from mmengine.registry import init_default_scope

from ssvideo.datasets import seeded
from ssvideo.datasets.transforms import RandomClipAugment, RandomClipErasing
from ssvideo.datasets.video_list import build_transform

FILL = (124, 116, 104)


def augment(transform, images, seed: int, clip_len: int) -> np.ndarray:
    """What a draw with this number makes of images, ``(number, H, W, 3)``."""
    with seeded(seed):
        return np.stack(transform(dict(imgs=list(images), clip_len=clip_len))['imgs'])


def noise(size: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (size, size, 3), np.uint8)


@pytest.mark.parametrize('transform', [RandomClipAugment(2, 9), RandomClipErasing(0.7)])
def test_clip_augmentations__are_one_for_a_clip_another_for_the_next_and_follow_the_draw(transform):
    image = noise()
    clips_differ = draws = 0
    for seed in range(20):
        found = augment(transform, [image] * 6, seed, clip_len=3)
        assert found.dtype == np.uint8 and found.shape == (6, *image.shape)
        assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2]), 'one clip, one draw'
        assert np.array_equal(found[3], found[5])
        clips_differ += not np.array_equal(found[0], found[3])
        assert np.array_equal(augment(transform, [image] * 6, seed, clip_len=3), found), 'a function of the draw'
        draws += not np.array_equal(augment(transform, [image] * 6, seed + 100, clip_len=3)[0], found[0])
    assert clips_differ > 10 and draws > 10
    assert np.array_equal(image, noise()), 'the given arrays are left as they are'


def test_clip_augment__moves_every_frame_by_the_same_amount():
    """Of frames with other contents: where the picture is moved away, all frames are grey."""
    frames = np.stack([np.full((32, 32, 3), value, np.uint8) for value in (10, 90, 250)])
    transform, moved = RandomClipAugment(1, 10), 0
    transform.augment.ops = [op for op in transform.augment.ops if op.name == 'TranslateXRel']
    for seed in range(10):
        gone = (augment(transform, frames, seed, 3) == 128).all(-1)
        assert np.array_equal(gone[0], gone[1]) and np.array_equal(gone[0], gone[2])
        moved += gone[0].any()
    assert moved == 10


def test_clip_augment__applies_each_of_its_operations_at_the_given_strength():
    for transform, strength in ((RandomClipAugment(4, 7, max_magnitude=30), 7 / 3), (RandomClipAugment(4, 7), 7)):
        assert transform.augment.num_layers == 4
        assert all(op.prob == 1 and op.magnitude == pytest.approx(strength) for op in transform.augment.ops)
    names = {op.name for op in transform.augment.ops}
    assert {'BrightnessIncreasing', 'SolarizeIncreasing', 'Rotate', 'Equalize'} <= names
    image = noise()
    weak, strong = (np.mean([np.abs(augment(transform, [image], seed, 1)[0].astype(float) - image).mean() for seed in range(40)])
                    for transform in (RandomClipAugment(1, 1), RandomClipAugment(1, 9)))
    assert weak < strong


def test_clip_erasing__covers_one_rectangle_with_the_mean_colour_as_often_as_asked():
    shares = []
    for seed in range(400):
        gone = (augment(RandomClipErasing(0.25), [noise()], seed, 1)[0] == FILL).all(-1)
        if gone.any():
            rows, columns = np.flatnonzero(gone.any(1)), np.flatnonzero(gone.any(0))
            assert gone[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1].all(), 'a rectangle'
            shares.append(gone.mean())
    assert 70 < len(shares) < 130
    assert min(shares) > 0.01 and max(shares) < 0.36


@pytest.mark.parametrize('build', [
    lambda: RandomClipAugment(0, 7), lambda: RandomClipAugment(2, 11), lambda: RandomClipAugment(2, 0, max_magnitude=0),
    lambda: RandomClipErasing(1.5), lambda: RandomClipErasing(0.5, fill=(0, 0)),
    lambda: RandomClipErasing(0.5, fill=(0, 0, 256))])
def test_clip_augmentations__refuse_what_makes_no_sense(build):
    with pytest.raises(ValueError, match='expected.*got'):
        build()


def test_color_jitter__of_bevts_images_follows_the_draw():
    """torchvision's, through mmaction2; its own ColorJitter orders its steps when it is built, outside of any draw."""
    init_default_scope('mmaction')
    jitter = build_transform(dict(type='TorchVisionWrapper', op='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4))
    image = noise()
    first, again, other = (augment(jitter, [image], seed, 1)[0] for seed in (1, 1, 2))
    assert first.dtype == np.uint8 and np.array_equal(first, again) and not np.array_equal(first, other)
    ratio = np.array([augment(jitter, [np.full((4, 4, 3), 100, np.uint8)], seed, 1).mean() for seed in range(200)]) / 100
    assert 0.58 < ratio.min() < 0.65 and 1.35 < ratio.max() < 1.42, 'brightness of a grey picture'
