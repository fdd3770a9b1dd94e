"""Crops, mirroring and colour on the device, beside torchvision's, picture by picture."""
from __future__ import annotations

import random

import pytest
import torch
from mmengine.logging import MessageHub
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as TF

from ssvideo.models import ClipPreprocessor, DeviceAugment

FRAMES = torch.randint(256, (5, 3, 2, 40, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
ALL = dict(size=24, crop_range=(20, 32), flip=0.5, brightness=0.4, contrast=0.4, saturation=0.4)


@pytest.fixture(autouse=True)
def an_iteration():
    hub = MessageHub.get_current_instance()
    hub.update_info('iter', 7)
    hub.update_info('seed', 3)
    yield
    hub.runtime_info.pop('iter')
    hub.runtime_info.pop('seed')


def picture_by_picture(frames, size, crop_range, flip, brightness, contrast, saturation, iteration):
    """The same draws, by torchvision."""
    rng = random.Random(f'3/0/{iteration}/video/augment')
    clips = []
    for clip in frames:
        side = rng.randint(*crop_range)
        top, left = rng.randint(0, frames.shape[3] - side), rng.randint(0, frames.shape[4] - side)
        pictures = [TF.crop(picture, top, left, side, side) for picture in clip.transpose(0, 1)]
        if side != size:
            pictures = [TF.resize(picture, [size, size], InterpolationMode.BICUBIC, antialias=True) for picture in pictures]
        mirrored = rng.random() < flip
        clips.append([TF.hflip(picture) if mirrored else picture for picture in pictures])
    out = []
    for pictures in clips:
        factors = [rng.uniform(1 - strength, 1 + strength) for strength in (brightness, contrast, saturation)]
        for change, factor in zip((TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation), factors):
            pictures = [change(picture, factor) for picture in pictures]
        out.append(torch.stack(pictures, 1))
    return torch.stack(out)


@pytest.mark.parametrize('changes', [
    dict(), dict(crop_range=(24, 24)), dict(flip=0.0), dict(flip=1.0), dict(brightness=0.0), dict(contrast=0.0, saturation=0.9)],
    ids=str)
def test_device_augment__is_torchvisions(changes):
    words = ALL | changes
    found, expected = DeviceAugment(**words)(FRAMES, 'video'), picture_by_picture(FRAMES, **words, iteration=7)
    assert found.dtype == torch.uint8 and found.shape == (5, 3, 2, 24, 24)
    difference = (found.int() - expected.int()).abs()
    assert difference.max() <= 3 and (difference > 0).float().mean() < 0.01, 'but for rounding'


def test_device_augment__crops_and_mirrors_are_exact_and_alike_for_all_frames():
    still = FRAMES[:, :, :1].expand(-1, -1, 6, -1, -1)
    found = DeviceAugment(24, flip=0.5)(still, 'video')
    assert torch.equal(found, found[:, :, :1].expand_as(found))
    assert torch.equal(found, picture_by_picture(still, 24, (24, 24), 0.5, 0, 0, 0, iteration=7))


def test_device_augment__draws_by_iteration_and_stream():
    hub, augment = MessageHub.get_current_instance(), DeviceAugment(**ALL)
    first, other_stream = augment(FRAMES, 'video'), augment(FRAMES, 'image')
    hub.update_info('iter', 8)
    second = augment(FRAMES, 'video')
    hub.update_info('iter', 7)
    assert torch.equal(DeviceAugment(**ALL)(FRAMES, 'video'), first), 'what a resumed run draws'
    assert not torch.equal(first, other_stream) and not torch.equal(first, second)


def test_preprocessor__augments_streams_in_training_only():
    batch = dict(video=dict(inputs=list(FRAMES[:, None])), image=dict(inputs=list(FRAMES[:, None, :, :1])))
    preprocessor = ClipPreprocessor(augments=dict(video=dict(type='DeviceAugment', size=32)))
    found = preprocessor(batch, training=True)['inputs']
    assert found['video'].frames.shape == (5, 3, 2, 32, 32) and torch.equal(found['image'].frames, FRAMES[:, :, :1])
    assert torch.equal(preprocessor(batch)['inputs']['video'].frames, FRAMES)
    with pytest.raises(ValueError, match='of a stored view, which would not fit them'):
        preprocessor(dict(video=batch['video'] | dict(tokens=[torch.zeros(1, 2, 4, 4)] * 5)), training=True)
    with pytest.raises(ValueError, match=r"augments name the streams \['video'\]; the batch brings \['image'\]"):
        preprocessor(dict(image=batch['image']), training=True)


def test_device_augment__wrong_sizes():
    with pytest.raises(ValueError, match=r'crop_range \(smallest, largest\) side; got size=24, crop_range=\(32, 20\)'):
        DeviceAugment(24, (32, 20))
    with pytest.raises(ValueError, match="clips of stream 'video' have 40 x 48: let the pipeline make them larger"):
        DeviceAugment(24, (20, 44))(FRAMES, 'video')
