"""The plugin fulfils the contracts and trains inside a ``Pretrainer``."""
import pytest
import torch
from mmengine.config import Config

from plugins.pixel_targets import PixelTargets
from ssvideo.contracts import check_tokenizer
from ssvideo.registry import MODELS
from ssvideo.structures import Clips


@pytest.mark.parametrize('stride', [(1, 8, 8), (2, 4, 8)])
@pytest.mark.parametrize('normalise', [True, False])
def test_pixel_targets__fulfil_the_contract(stride, normalise):
    check_tokenizer(PixelTargets(stride, normalise))


def test_pixel_targets__match_a_slow_reference():
    pixels = torch.rand(2, 3, 4, 8, 12)
    targets = PixelTargets((2, 4, 4), normalise=True)(pixels)
    for n, t, h, w in [(0, 0, 0, 0), (1, 1, 1, 2), (0, 1, 0, 1)]:
        patch = pixels[n, :, 2 * t:2 * t + 2, 4 * h:4 * h + 4, 4 * w:4 * w + 4].flatten()
        assert torch.allclose(targets[n, t, h, w], (patch - patch.mean()) / patch.std(), atol=1e-3)


def test_pixel_targets__decode_gives_the_pixels_back():
    pixels = torch.rand(2, 3, 4, 8, 12)
    tokenizer = PixelTargets((2, 4, 4), normalise=False)
    assert torch.equal(tokenizer.decode(tokenizer(pixels)), pixels)


def test_pixel_regression__learns_in_a_pretrainer():
    torch.manual_seed(0)
    config = Config.fromfile('plugins/pixel_targets/config.py')
    model = MODELS.build(config.model)
    frames = torch.randint(256, (2, 3, 8, 64, 64), dtype=torch.uint8)
    batch = dict(video=dict(inputs=[frames[:1], frames[1:]]), image=dict(inputs=[frames[:1, :, :1], frames[1:, :, :1]]))
    inputs = model.data_preprocessor(batch)['inputs']
    assert isinstance(inputs['video'], Clips)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    history = []
    for _ in range(8):
        losses = model(inputs, mode='loss')
        total = losses['video_pixels_loss'] + losses['image_pixels_loss']
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        history.append(total.item())
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)
    assert history[0] == pytest.approx(2.0, abs=0.8), 'normalised targets have variance 1, in each of two streams'
    assert history[-1] < history[0]


def test_pixel_regression__refuses_a_tokenizer_of_ids():
    with pytest.raises(ValueError, match='continuous targets'):
        MODELS.build(dict(type='PixelRegression', decoder=dict(type='SwinDecoder')),
                     default_args=dict(backbone=None, tokenizer=None))
