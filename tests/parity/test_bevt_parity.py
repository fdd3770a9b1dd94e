"""What the authors' released BEVT computes, with the same weights, against ours."""
from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ssvideo.models.backbones.video_swin import VideoSwin
from ssvideo.models.objectives.mvm import MVM
from ssvideo.structures import MaskedTokens
from ssvideo.utils.convert_bevt import convert_bevt

DATA = Path(__file__).parent / 'data'
STREAMS = ('video', 'image')


def read(name):
    return load_file(DATA / f'bevt_a_{name}.safetensors')


class Pretraining(torch.nn.Module):
    """Backbone and objective under the names that a Pretrainer gives them."""

    def __init__(self):
        super().__init__()
        self.backbone = VideoSwin(embed_dims=16, depths=(1, 1, 2, 1), num_heads=(1, 2, 4, 8), window_size=(4, 7, 7))
        mvm = MVM(self.backbone, vocab_size=96, decoder={'type': 'ssvideo.SwinDecoder'})
        self.objectives = torch.nn.ModuleDict({'mvm': mvm})


def clips_of(stream, inputs):
    """Pixels and what is masked, on the token grid."""
    pixels, mask, tokens = (inputs[key] for key in (stream, f'{stream}_mask', f'{stream}_tokens'))
    if stream == 'image':
        pixels, mask, tokens = pixels.unsqueeze(2), mask.unsqueeze(1), tokens.unsqueeze(1)
    else:
        mask = mask.repeat_interleave(2, dim=1)
    mask = mask.bool()
    return pixels.float(), MaskedTokens(tokens.long(), mask, mask.flatten().nonzero().flatten())


@pytest.fixture(scope='module')
def golden():
    """The model after one backward pass of the sum of both losses; features and results by stream; the expected."""
    torch.manual_seed(0)
    weights, inputs = read('weights'), read('inputs')
    model = Pretraining().eval()
    model.load_state_dict(convert_bevt(weights), strict=True)
    mvm, features, results = model.objectives['mvm'], {}, {}
    for stream in STREAMS:
        pixels, masked = clips_of(stream, inputs)
        encoded = model.backbone(pixels, masked.mask)
        features[stream] = mvm.norm(mvm.decoder(encoded.maps, tuple(masked.mask.shape[1:])))
        results[stream] = mvm(encoded, masked)
    sum(result['loss'] for result in results.values()).backward()
    return model, features, results, read('outputs')


@pytest.mark.parametrize('stream', STREAMS)
def test_features__equal_the_authors(golden, stream):
    _, features, _, expected = golden
    expected = expected[f'{stream}_features']  # stored as halves
    torch.testing.assert_close(features[stream].flatten(1, 3), expected.float(), atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize('stream', STREAMS)
def test_loss__equals_the_authors(golden, stream):
    _, _, results, expected = golden
    torch.testing.assert_close(results[stream]['loss'], expected[f'loss_{stream}'].squeeze(), atol=1e-4, rtol=0)


def test_gradients__have_the_authors_norms(golden):
    model, _, _, expected = golden
    weights, gradients = read('weights'), {name: p.grad for name, p in model.named_parameters()}
    compared = 0
    for name, norm in expected.items():
        if name.startswith('grad_norm.'):
            authors = f"backbone.{name.removeprefix('grad_norm.')}"
            ours = next(iter(convert_bevt({authors: weights[authors]})))
            torch.testing.assert_close(gradients[ours].norm(), norm.squeeze(), atol=1e-6, rtol=1e-4,
                                       msg=lambda text, name=ours: f'{name}: {text}')
            compared += 1
    assert compared == sum(name.startswith('backbone.') for name in weights)


def test_gradients__reach_every_parameter(golden):
    model = golden[0]
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_final_norm__is_shared_with_the_objective(golden):
    model = golden[0]
    assert model.objectives['mvm'].norm.weight is model.backbone.norm3.weight


def test_convert__refuses_a_foreign_name():
    with pytest.raises(ValueError, match='backbone.pos_embed is not a weight'):
        convert_bevt({'backbone.pos_embed': torch.zeros(1)})
