from __future__ import annotations

import copy
import math

import pytest
import torch

from ssvideo.models.backbones.base import Backbone
from ssvideo.models.backbones.divided_transformer import DividedTransformer
from ssvideo.models.objectives.masked_prediction import gather_positions, masked_cross_entropy
from ssvideo.models.objectives.mlm import MLM
from ssvideo.models.tokenizers.base import Tokenizer
from ssvideo.structures import PAD, MaskedTokens

GRID = (2, 3, 4)
VOCAB = 20


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.backbone = DividedTransformer(grid=GRID, vocab_size=VOCAB, embed_dims=16, num_layers=1, num_heads=2,
                                           dropout=0.0)
        self.mlm = MLM(self.backbone)


def batch(share=0.5):
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(VOCAB, (3, *GRID), generator=generator)
    mask = torch.rand(tokens.shape, generator=generator) < share
    tokens[0, 1, 1] = PAD
    mask &= tokens != PAD
    return MaskedTokens(tokens, mask, mask.flatten().nonzero().squeeze(1), num_views=1)


def test_mlm__equals_plain_loops():
    model, masked = Model(), batch()
    torch.nn.init.normal_(model.mlm.bias)
    features = model.backbone(masked.tokens, masked.mask)
    terms = model.mlm(features, masked)
    losses, right = [], 0
    for clip in range(3):
        for t in range(GRID[0]):
            for i in range(GRID[1]):
                for j in range(GRID[2]):
                    if not masked.mask[clip, t, i, j]:
                        continue
                    hidden = model.mlm.transform(features.maps[0][clip, t, i, j])
                    scores = [hidden @ row + bias for row, bias in
                              zip(model.backbone.token_embedding.weight, model.mlm.bias)]
                    scores = torch.stack(scores)
                    target = int(masked.tokens[clip, t, i, j])
                    losses.append(scores.exp().sum().log() - scores[target])
                    right += int(scores.argmax()) == target
    assert len(losses) == int(masked.mask.sum()) > 10
    torch.testing.assert_close(terms['loss'], sum(losses) / len(losses))
    assert terms['accuracy'].item() == pytest.approx(right / len(losses))
    assert terms.keys() == {'loss', 'accuracy', 'target_perplexity', 'predicted_perplexity'}


def test_mlm__starts_at_chance():
    model, masked = Model(), batch()
    loss = model.mlm(model.backbone(masked.tokens, masked.mask), masked)['loss'].item()
    assert loss == pytest.approx(math.log(VOCAB + 5), rel=0.02)


def test_mlm__nothing_masked_keeps_the_graph():
    model, masked = Model(), batch(share=0.0)
    assert len(masked.positions) == 0
    terms = model.mlm(model.backbone(masked.tokens, masked.mask), masked)
    assert terms['loss'].item() == 0
    assert terms['accuracy'].item() == 0
    terms['loss'].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert not parameter.grad.any(), name


def test_mlm__ties_the_embedding():
    """One parameter: through training, casting, copying and loading."""
    model, masked = Model(), batch()
    assert model.mlm.embedding is model.backbone.token_embedding.weight
    assert [name for name, _ in model.named_parameters() if 'embedding' in name and 'norm' not in name] == [
        'backbone.token_embedding.weight']
    assert {'mlm.embedding', 'backbone.token_embedding.weight'} <= model.state_dict().keys()

    for moved in (copy.deepcopy(model), copy.deepcopy(model).double(), copy.deepcopy(model).to(torch.bfloat16)):
        assert moved.mlm.embedding is moved.backbone.token_embedding.weight
        assert moved.mlm.embedding is not model.mlm.embedding

    other = Model()
    torch.nn.init.normal_(other.backbone.token_embedding.weight)
    model.load_state_dict(other.state_dict(), strict=True)
    assert torch.equal(model.mlm.embedding, other.backbone.token_embedding.weight)
    assert model.mlm.embedding is model.backbone.token_embedding.weight

    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    before = model.mlm.embedding.detach().clone()
    model.mlm(model.backbone(masked.tokens, masked.mask), masked)['loss'].backward()
    gradient = model.backbone.token_embedding.weight.grad.clone()
    optimizer.step()
    torch.testing.assert_close(model.mlm.embedding.detach(), before - gradient)  # once, not twice
    assert gradient[VOCAB + 2].any()  # the output side reaches rows that no input reads


def test_mlm__does_not_keep_the_backbone():
    mlm = Model().mlm
    assert not any(isinstance(module, Backbone) for module in mlm.modules())
    assert mlm.state_dict().keys() == {'embedding', 'bias', 'transform.0.weight', 'transform.0.bias',
                                       'transform.2.weight', 'transform.2.bias'}


class OtherTokenizer(Tokenizer):
    vocab_size = 512
    stride = (1, 8, 8)

    def forward(self, pixels):
        raise AssertionError('never asked')


class PixelBackbone(Backbone):
    reads = 'pixels'
    channels = (8,)

    def forward(self, inputs, mask=None):
        raise AssertionError('never asked')


def test_mlm__what_it_cannot_serve():
    with pytest.raises(ValueError, match='OtherTokenizer makes 512 ids.*vocab_size=20'):
        MLM(Model().backbone, OtherTokenizer())
    with pytest.raises(ValueError, match='PixelBackbone lacks; use MVM'):
        MLM(PixelBackbone())


def test_gather_positions__equals_boolean_indexing():
    masked = batch()
    x = torch.randn(3, *GRID, 7)
    assert torch.equal(gather_positions(x, masked.positions), x[masked.mask])
    assert torch.equal(gather_positions(masked.tokens, masked.positions), masked.tokens[masked.mask])


def test_masked_cross_entropy__half_precision_is_summed_in_float32():
    torch.manual_seed(0)
    logits = torch.randn(50, 4000).to(torch.bfloat16).requires_grad_()
    targets = torch.randint(4000, (50,))
    terms = masked_cross_entropy(logits, targets)
    assert terms['loss'].dtype == torch.float32
    expected = (logits.double().exp().sum(1).log() - logits.double().gather(1, targets[:, None])[:, 0]).mean()
    assert terms['loss'].item() == pytest.approx(expected.item(), abs=1e-4)
    terms['loss'].backward()
    assert logits.grad.dtype == torch.bfloat16


def test_masked_cross_entropy__perplexities_count_even_ids():
    """The exponential of the entropy of the ids: four even ones, and three of which one has half."""
    logits = torch.full((8, 50), -5.0)
    logits[torch.arange(8), torch.tensor([9, 9, 9, 9, 3, 3, 4, 4])] = 0
    terms = masked_cross_entropy(logits, torch.arange(4).repeat(2))
    assert terms['target_perplexity'].item() == pytest.approx(4)
    assert terms['predicted_perplexity'].item() == pytest.approx(math.exp(0.5 * math.log(2) + 2 * 0.25 * math.log(4)))
    collapsed = masked_cross_entropy(torch.eye(50)[:1].expand(8, -1), torch.arange(8))
    assert collapsed['predicted_perplexity'].item() == pytest.approx(1)
