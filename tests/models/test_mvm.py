"""BEVT's decoder and objective, against the layers they stand for."""
from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ssvideo.models.backbones.base import Backbone
from ssvideo.models.decoders import SwinDecoder
from ssvideo.models.objectives.mvm import MVM
from ssvideo.models.tokenizers.base import Tokenizer
from ssvideo.structures import Features, MaskedTokens

GRIDS = {'video': (6, 4, 5), 'image': (1, 4, 5)}
DECODER = {'type': 'ssvideo.SwinDecoder'}


class Maps(Backbone):
    """A backbone of which only the widths and the norm matter."""
    reads, channels = 'pixels', (4, 8, 16)

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(16)
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)

    def forward(self, inputs, mask=None):
        raise NotImplementedError


class Ids(Tokenizer):
    vocab_size, stride = 11, (1, 8, 8)

    def forward(self, pixels):
        raise NotImplementedError


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def features_of(stream, num_clips=2):
    t, h, w = GRIDS[stream]
    t = max(t // 2, 1)
    maps = (torch.randn(num_clips, t, h, w, 8), torch.randn(num_clips, t, -(-h // 2), -(-w // 2), 16))
    return Features((torch.randn(num_clips, t, 2 * h, 2 * w, 4), *maps), torch.randn(num_clips, 16))


def masked_of(stream, share=0.4, num_clips=2):
    mask = torch.rand(num_clips, *GRIDS[stream]) < share
    return MaskedTokens(torch.randint(0, 11, mask.shape), mask, mask.flatten().nonzero().flatten())


def by_convolutions(branch, fine, coarse):
    """The decoder as published: transposed convolutions on channels-first maps."""
    fine, coarse = (x.permute(0, 4, 1, 2, 3) for x in (fine, coarse))
    upsampled = F.conv_transpose3d(coarse, branch.upsample.weight, branch.upsample.bias, stride=(1, 2, 2))
    joined = torch.cat((fine, upsampled[..., :fine.shape[3], :fine.shape[4]]), dim=1).permute(0, 2, 3, 4, 1)
    fused = branch.fuse(joined)
    if branch.temporal_upsample is None:
        return fused
    conv = branch.temporal_upsample
    return F.conv_transpose3d(fused.permute(0, 4, 1, 2, 3), conv.weight, conv.bias, stride=(2, 1, 1)).permute(
        0, 2, 3, 4, 1)


@pytest.mark.parametrize('stream', GRIDS)
def test_decoder__equals_transposed_convolutions(stream):
    decoder, features = SwinDecoder(Maps.channels), features_of(stream)
    expected = by_convolutions(decoder.branches[stream], *features.maps[-2:])
    torch.testing.assert_close(decoder(features.maps, GRIDS[stream]), expected, atol=1e-5, rtol=1e-5)


def test_decoder__cuts_off_what_padding_added():
    decoder, maps = SwinDecoder(Maps.channels), features_of('video').maps
    torch.testing.assert_close(decoder(maps, (5, 3, 5)), decoder(maps, GRIDS['video'])[:, :5, :3])


def test_decoder__refuses_a_grid_larger_than_its_maps():
    with pytest.raises(ValueError, match=r'token grid is \(6, 4, 5\) but the decoded maps have \(3, 4, 5\)'):
        SwinDecoder(Maps.channels, temporal_upsample=1)(features_of('video').maps, GRIDS['video'])


def test_decoder__has_only_the_branches_asked_for():
    decoder = SwinDecoder(Maps.channels, branches=('image',))
    assert {name.split('.')[1] for name in decoder.state_dict()} == {'image'}
    with pytest.raises(ValueError, match="add 'video' to its branches"):
        decoder(features_of('video').maps, GRIDS['video'])
    with pytest.raises(ValueError, match='branches must be a list of some of'):
        SwinDecoder(Maps.channels, branches=('audio',))


@pytest.mark.parametrize('stream', GRIDS)
def test_loss__equals_cross_entropy_of_all_logits_at_the_mask(stream):
    mvm, features, masked = MVM(Maps(), Ids(), decoder=DECODER), features_of(stream), masked_of(stream)
    nn.init.normal_(mvm.classifier.weight)
    decoded = by_convolutions(mvm.decoder.branches[stream], *features.maps[-2:])
    logits = mvm.classifier(mvm.norm(decoded))[masked.mask]
    got = mvm(features, masked)
    torch.testing.assert_close(got['loss'], F.cross_entropy(logits, masked.tokens[masked.mask]), atol=1e-5, rtol=1e-5)
    assert got['accuracy'].item() == pytest.approx((logits.argmax(-1) == masked.tokens[masked.mask]).float().mean())


def test_loss__ignores_tokens_outside_the_mask():
    mvm, features, masked = MVM(Maps(), Ids(), decoder=DECODER), features_of('video'), masked_of('video')
    expected = mvm(features, masked)['loss']
    masked.tokens = torch.where(masked.mask, masked.tokens, -1)  # frames without a mask are not tokenized
    assert torch.equal(mvm(features, masked)['loss'], expected)


def test_loss__without_a_masked_position_is_zero_with_a_graph():
    mvm = MVM(Maps(), Ids(), decoder=DECODER)
    losses = [mvm(features_of(stream), masked_of(stream, share=0.0))['loss'] for stream in GRIDS]
    sum(losses).backward()
    assert [loss.item() for loss in losses] == [0.0, 0.0]
    assert all(p.grad is not None and not p.grad.any() for p in mvm.parameters())


def test_gradients__of_both_streams_reach_every_parameter():
    mvm = MVM(Maps(), Ids(), decoder=DECODER)
    sum(mvm(features_of(stream), masked_of(stream))['loss'] for stream in GRIDS).backward()
    assert [name for name, p in mvm.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_norm__is_the_backbones_and_stays_so_in_a_copy():
    model = nn.ModuleDict({'backbone': Maps()})
    model['mvm'] = MVM(model['backbone'], Ids(), decoder=DECODER)
    assert not any(isinstance(module, Backbone) for module in model['mvm'].modules())
    for each in (model, copy.deepcopy(model)):
        assert each['mvm'].norm.weight is each['backbone'].norm.weight
    own = MVM(model['backbone'], Ids(), decoder=DECODER, share_norm=False)
    assert own.norm.weight is not model['backbone'].norm.weight


def test_build__asks_for_a_vocabulary():
    assert MVM(Maps(), decoder=DECODER, vocab_size=7).classifier.out_features == 7
    assert MVM(Maps(), Ids(), decoder=DECODER).classifier.out_features == 11
    with pytest.raises(ValueError, match='MVM needs vocab_size'):
        MVM(Maps(), decoder=DECODER)
    with pytest.raises(ValueError, match='vocab_size=7, but Ids has 11 ids'):
        MVM(Maps(), Ids(), decoder=DECODER, vocab_size=7)
    continuous = Ids()
    continuous.vocab_size = None
    with pytest.raises(ValueError, match='Ids makes continuous targets'):
        MVM(Maps(), continuous, decoder=DECODER)


def test_build__refuses_a_norm_that_does_not_fit():
    backbone = Maps()
    backbone.norm = nn.LayerNorm(8)
    with pytest.raises(ValueError, match='decoder makes 16 channels; set share_norm=False'):
        MVM(backbone, Ids(), decoder=DECODER)
