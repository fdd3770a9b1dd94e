"""Components that are wrong, each caught by the contract of its kind in words that name the fault."""
import random

import pytest
import torch
from torch import nn

from ssvideo.contracts import check_backbone, check_masker, check_model, check_objective, check_tokenizer
from ssvideo.contracts.backbone import BackboneCase, compiles_to_one_graph
from ssvideo.contracts.companions import BrightnessIds, MeanColours, companion_backbones, inputs_of, masked_of
from ssvideo.contracts.masker import MaskerCase, is_pickled, is_registered
from ssvideo.contracts.model import ModelCase, trains_in_two_processes
from ssvideo.evaluation.random_batches import random_batch
from ssvideo.models.backbones import DividedTransformer
from ssvideo.models.maskers import Masker, Random3DMasker
from ssvideo.models.objectives import MLM
from ssvideo.models.pretrainer import Pretrainer
from ssvideo.registry import MODELS

GRID = (4, 4, 4)


def backbone():
    torch.manual_seed(0)
    return companion_backbones()[1]


def check_wrong_objective(cls):
    torch.manual_seed(0)
    reads_tokens = backbone()
    masked = masked_of(BrightnessIds(), GRID)
    check_objective(cls(reads_tokens), reads_tokens(inputs_of(reads_tokens), masked.mask), masked)


class FlatMasks(Random3DMasker):
    def sample(self, grid, rng):
        return super().sample((1, *grid[1:]), rng)


class FloatMasks(Random3DMasker):
    def sample(self, grid, rng):
        return super().sample(grid, rng).float()


class GlobalDraws(Masker):
    def sample(self, grid, rng):
        return torch.rand(grid) < 0.5


class MasksPad(Random3DMasker):
    def __call__(self, grid, num_clips, rng, pad=None):
        return super().__call__(grid, num_clips, rng)


class SwallowsWords(Random3DMasker):
    def __init__(self, mask_ratio=0.5, **kwargs):
        super().__init__(mask_ratio)


class KeepsALambda(Random3DMasker):
    def __init__(self):
        super().__init__()
        self.draw = lambda grid, rng: super(KeepsALambda, self).sample(grid, rng)


@pytest.mark.parametrize(('masker', 'fault'), [
    (FlatMasks(), r'FlatMasks: A masker returns \(N, t, h, w\).* Expected \(6, 8, 14, 14\), got \(6, 1, 14, 14\)'),
    (FloatMasks(), 'A mask is bool, or int8.* Got torch.float32'),
    (GlobalDraws(), 'only source of randomness.* draw with the rng that sample'),
    (MasksPad(), r'\(PAD\) is never masked.* It masked [1-9]\d* of 2352 such positions'),
    (SwallowsWords(), 'nothing swallows what it does not know.* name all arguments')], ids=lambda value: type(value).__name__)
def test_wrong_maskers__are_named(masker, fault):
    with pytest.raises(AssertionError, match=fault):
        check_masker(masker)


def test_wrong_maskers__what_cannot_be_sent_or_named_in_a_config():
    with pytest.raises(AssertionError, match='pickle cannot write it'):
        is_pickled(MaskerCase(KeepsALambda()))
    with pytest.raises(AssertionError, match='write @MODELS.register_module'):
        is_registered(MaskerCase(GlobalDraws()))


class KeepsTheBackbone(MLM):
    def __init__(self, backbone):
        super().__init__(backbone)
        self.parts = [backbone]


class MetricNamedLoss(MLM):
    def forward(self, features, masked):
        terms = super().forward(features, masked)
        return terms | dict(pixel_loss=terms['loss'].detach())


class UnusedLayer(MLM):
    def __init__(self, backbone):
        super().__init__(backbone)
        self.spare = nn.Linear(4, 4)


class EmptyMean(MLM):
    def forward(self, features, masked):
        return dict(loss=self.logits(features.maps[-1].flatten(0, 3)[masked.positions]).mean())


class PredictsEverywhere(MLM):
    def forward(self, features, masked):
        logits = self.logits(features.maps[-1].flatten(0, 3)[:, :])
        chosen = logits.gather(1, masked.tokens.flatten().unsqueeze(1).remainder(16))
        return dict(loss=-chosen.mean() if len(masked.positions) else 0 * chosen.sum())


class ReadsMoreThanItSays(MLM):
    def forward(self, features, masked):
        terms = super().forward(features, masked)
        return terms | dict(loss=terms['loss'] + features.maps[-1].square().mean())


@pytest.mark.parametrize(('cls', 'fault'), [
    (KeepsTheBackbone, 'must not keep the backbone itself. It keeps a DividedTransformer'),
    (MetricNamedLoss, 'The name of a metric must not contain "loss": \'pixel_loss\''),
    (UnusedLayer, r"Gradients reach every trainable parameter.* None reached \['spare.weight', 'spare.bias'\]"),
    (EmptyMean, 'Where nothing is masked the loss is a zero.* an empty mean is NaN'),
    (ReadsMoreThanItSays, 'With ``positions_only`` what the maps hold at visible positions does not matter'),
    (PredictsEverywhere, 'only what is masked is predicted. With PAD at visible positions the loss is')])
def test_wrong_objectives__are_named(cls, fault):
    with pytest.raises(AssertionError, match=fault):
        check_wrong_objective(cls)


class Peeks(DividedTransformer):
    knows = ()

    def forward(self, inputs, mask=None):
        features = super().forward(inputs, mask)
        features.summary = features.summary + inputs.float().mean((1, 2, 3)).unsqueeze(1)
        return features


class StopsTheDevice(DividedTransformer):
    knows = ()

    def forward(self, inputs, mask=None):
        features = super().forward(inputs, mask)
        if features.summary.abs().max() > 1e6:
            features.summary = features.summary / 2
        return features


class DoesNotTakeWhatItKnows(DividedTransformer):
    def forward(self, inputs, mask=None):
        return super().forward(inputs, mask)


class LosesWhatIsRead(DividedTransformer):
    def forward(self, inputs, mask=None, whole=False, positions=None):
        return super().forward(inputs, mask, whole, None if positions is None else positions[:1])


@pytest.mark.parametrize(('cls', 'fault'), [
    (DoesNotTakeWhatItKnows, "knows names 'whole', and forward does not take it"),
    (LosesWhatIsRead, 'With positions it gives other features'),
    (Peeks, 'the content of hidden positions does not leak'),
    (StopsTheDevice, 'the host never waits for a value')])
def test_wrong_backbones__are_named(cls, fault):
    torch.manual_seed(0)
    wrong = cls(grid=GRID, vocab_size=16, embed_dims=24, num_layers=1, num_heads=6)
    with pytest.raises(AssertionError, match=fault):
        check_backbone(wrong, inputs_of(wrong), GRID)


def test_wrong_backbones__a_graph_that_breaks_is_named():
    torch.manual_seed(0)
    wrong = StopsTheDevice(grid=GRID, vocab_size=16, embed_dims=24, num_layers=1, num_heads=6)
    with pytest.raises(AssertionError, match='it cannot: .*[Dd]ata-dependent'):
        compiles_to_one_graph(BackboneCase(wrong, inputs=inputs_of(wrong), grid=GRID))


class WrongDims(MeanColours):
    target_dims = 5


class ShortIds(BrightnessIds):
    def forward(self, pixels):
        return super().forward(pixels).int()


@pytest.mark.parametrize(('tokenizer', 'fault'), [
    (WrongDims(), 'target_dims says 5, the targets have 3 channels'),
    (ShortIds(), r'ids are \(N, t, h, w\) int64, got torch.int32')], ids=lambda value: type(value).__name__)
def test_wrong_tokenizers__are_named(tokenizer, fault):
    with pytest.raises(AssertionError, match=fault):
        check_tokenizer(tokenizer)


class SpareParameter(Pretrainer):
    def __init__(self, backbone, maskers, objectives):
        super().__init__(backbone, maskers, objectives)
        self.spare = nn.Parameter(torch.zeros(2))


def small_model(cls):
    torch.manual_seed(0)
    MODELS.import_from_location()
    model = cls(backbone=dict(type='DividedTransformer', grid=GRID, vocab_size=16, embed_dims=24, num_layers=1, num_heads=6),
                maskers=dict(video=dict(type='BlockMasker')), objectives=dict(mlm=dict(type='MLM')))
    return model, random_batch(model, dict(video=dict(batch_size=2, dataset=dict())))


def test_wrong_models__an_unused_parameter_is_named():
    with pytest.raises(AssertionError, match=r"None reached \['spare'\]"):
        check_model(*small_model(SpareParameter))


def test_models__that_are_right_train_in_two_processes():
    model, batch = small_model(Pretrainer)
    trains_in_two_processes(ModelCase(model, batch=batch))


def test_maskers__that_are_right_pass():
    check_masker(Random3DMasker(temporal_stride=2))
    assert (Random3DMasker()((1, 2, 2), 1, random.Random(0)) != 2).all()
