"""What the authors' released VIMPAC computes, with the same weights, against ours."""
from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from ssvideo.models.backbones.divided_transformer import DividedTransformer
from ssvideo.models.objectives.info_nce import InfoNCE, info_nce
from ssvideo.models.objectives.mlm import MLM
from ssvideo.structures import PAD, Features, MaskedTokens
from ssvideo.utils.convert_vimpac import convert_vimpac

DATA = Path(__file__).parent / 'data'
AUTHORS_PAD = 8193


def read(name):
    with safe_open(DATA / f'{name}.safetensors', 'pt') as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118  (no iterator)


class Pretraining(torch.nn.Module):
    """Backbone and objectives under the names that a Pretrainer gives them."""

    def __init__(self, backbone, mlm, nce):
        super().__init__()
        self.backbone = backbone
        self.objectives = torch.nn.ModuleDict({'mlm': mlm, 'nce': nce})


def build():
    backbone = DividedTransformer(grid=(5, 16, 16), embed_dims=64, num_layers=2, num_heads=4, attention_dims=32,
                                  mlp_dims=128)
    return Pretraining(backbone, MLM(backbone), InfoNCE(backbone, hidden_dims=128)).eval()


@pytest.fixture(scope='module')
def golden():
    """The model with the authors' weights, after one forward and backward pass, and what must have come out."""
    weights, metadata = read('vimpac_a_weights')
    converted = convert_vimpac(weights, metadata['layout'], int(metadata['num_heads']))
    model = build()
    model.load_state_dict(converted, strict=True)
    inputs, _ = read('vimpac_a_inputs')
    expected, _ = read('vimpac_a_outputs')
    tokens = inputs['codes'].long().masked_fill(inputs['masked_codes'] == AUTHORS_PAD, PAD)  # only these name the PAD
    mask = inputs['mask'].bool()
    to_predict = mask & (tokens != PAD)  # as a Masker leaves PAD visible
    assert bool((mask & (tokens == PAD)).any())  # so that "PAD wins" is tested
    features = model.backbone(tokens, mask)
    masked = MaskedTokens(tokens, to_predict, to_predict.flatten().nonzero().squeeze(1), num_views=2)
    terms = {name: objective(features, masked) for name, objective in model.objectives.items()}
    sum(term['loss'] for term in terms.values()).backward()
    return model, tokens, features, terms, expected


def test_vimpac__features(golden):
    _, _, features, _, expected = golden
    torch.testing.assert_close(features.summary, expected['cls'], atol=1e-4, rtol=0)
    torch.testing.assert_close(features.maps[0], expected['hidden'].float(), atol=2e-3, rtol=0)  # stored as halves


def test_vimpac__logits_at_listed_positions(golden):
    model, _, features, _, expected = golden
    clip, t, h, w = expected['logit_positions'].long().unbind(1)
    logits = model.objectives['mlm'].logits(features.maps[0][clip, t, h, w])
    torch.testing.assert_close(logits, expected['logits'].float(), atol=2e-3, rtol=0)  # stored as halves


def test_vimpac__projection(golden):
    model, _, features, _, expected = golden
    torch.testing.assert_close(model.objectives['nce'].projector(features.summary), expected['projection'],
                               atol=1e-4, rtol=0)


def test_vimpac__losses(golden):
    _, _, _, terms, expected = golden
    torch.testing.assert_close(terms['mlm']['loss'], expected['mlm_loss'][0], atol=1e-4, rtol=0)
    torch.testing.assert_close(terms['nce']['loss'], expected['nce_loss'][0], atol=1e-4, rtol=0)


def test_vimpac__gradient_norm_of_every_parameter(golden):
    """Gradients, translated like weights, have the authors' norms."""
    model, _, _, _, expected = golden
    weights, metadata = read('vimpac_a_weights')
    norms = {name.removeprefix('grad_norm.'): value for name, value in expected.items() if 'grad_norm' in name}
    # Each of the authors' tensors is marked, the marks are translated: where a mark ends up, that gradient belongs.
    order = sorted(norms)
    marks = {name: torch.full_like(tensor, order.index(name) if name in norms else -1)
             for name, tensor in weights.items() if name != 'mlm_head.decoder.bias'}
    marks = convert_vimpac(marks, metadata['layout'], int(metadata['num_heads']))
    checked = 0  # the norms of key biases are rounding noise (1e-12): softmax does not see them
    for name, parameter in model.named_parameters():
        for mark in marks[name].unique().long().tolist():
            ours = parameter.grad[marks[name] == mark].norm()
            theirs = norms[order[mark]][0]
            # atol: the projector's gradients, 1e-7, carry the golden's own float32 noise (float64 agrees with ours)
            torch.testing.assert_close(ours, theirs, atol=5e-9, rtol=1e-3, msg=lambda m, n=name: f'{n}: {m}')
            checked += 1
    assert checked == len(norms)


def test_vimpac__a_wrong_layout_is_refused():
    weights, _ = read('vimpac_a_weights')
    with pytest.raises(ValueError, match='branches'):
        convert_vimpac(weights, 'T,H,W', 4)
    with pytest.raises(ValueError, match='num_heads=3'):
        convert_vimpac(weights, 'T,H|W', 3)


def test_vimpac__names_of_all_released_variants():
    """DDP prefix and tied duplicates are accepted, unknown names and broken ties are not."""
    weights, _ = read('vimpac_a_weights')
    tied = weights | {'mlm_head.decoder.weight': weights['backbone.embedding.weight'].clone()}
    with_prefix = convert_vimpac({f'module.{name}': tensor for name, tensor in tied.items()}, 'T,H|W', 4)
    assert with_prefix.keys() == convert_vimpac(weights, 'T,H|W', 4).keys() == build().state_dict().keys()
    with pytest.raises(ValueError, match='differs from'):
        convert_vimpac(tied | {'mlm_head.decoder.weight': torch.zeros(8197, 64)}, 'T,H|W', 4)
    with pytest.raises(ValueError, match='backbone.surprise'):
        convert_vimpac(weights | {'backbone.surprise': torch.zeros(1)}, 'T,H|W', 4)


def test_infonce__loss_and_gradient():
    golden, _ = read('infonce')
    embeddings = golden['embeddings'].requires_grad_()
    loss = info_nce(embeddings, float(golden['temperature'][0]))['loss']
    loss.backward()
    torch.testing.assert_close(loss, golden['loss_times_temperature'][0], atol=1e-5, rtol=0)
    torch.testing.assert_close(embeddings.grad, golden['grad'], atol=1e-5, rtol=0)


def test_infonce__objective_adds_nothing_of_its_own():
    """With an identity projector and alpha 0.5 the objective is half the function."""
    golden, _ = read('infonce')
    backbone = DividedTransformer(grid=(1, 2, 2), vocab_size=4, embed_dims=32, num_layers=1, num_heads=2)
    objective = InfoNCE(backbone, weight=0.5)
    objective.projector = torch.nn.Identity()
    masked = MaskedTokens(None, torch.zeros(12, 1, 2, 2, dtype=torch.bool), torch.zeros(0, dtype=torch.long), 2)
    loss = objective(Features(maps=(), summary=golden['embeddings']), masked)['loss']
    torch.testing.assert_close(loss, golden['loss_times_temperature'][0] / 2, atol=1e-5, rtol=0)
