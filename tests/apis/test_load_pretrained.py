"""A file tells its model, and loading says what it did."""
import logging
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from vimpac_weights import authors_weights, convert, finetuned_weights, golden  # noqa: E402

from ssvideo.apis import load_pretrained  # noqa: E402
from ssvideo.models import ClipClassifier, Pretrainer  # noqa: E402
from ssvideo.models.layers.positions import interpolate_positions  # noqa: E402
from ssvideo.structures import PAD  # noqa: E402
from ssvideo.utils.model_file import FORMAT, ModelFile, build_model, read_model_file  # noqa: E402
from ssvideo.utils.safetensors_file import read_safetensors, write_safetensors  # noqa: E402

AUTHORS_PAD = 8193


@pytest.fixture(scope='module')
def pretrained(tmp_path_factory):
    """A small pre-trained model's file."""
    folder = tmp_path_factory.mktemp('vimpac')
    torch.save(authors_weights(), folder / 'classifier.pt')
    convert('vimpac', folder / 'classifier.pt', folder / 'small.safetensors')
    return folder / 'small.safetensors'


def changed(path, out, change):
    """A copy of a file with other tensors."""
    metadata, tensors = read_safetensors(path)
    change(tensors)
    write_safetensors(out, tensors, metadata)
    return out


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_load_pretrained__golden_weights_through_the_tool(tmp_path, prefix):
    """From the authors' file to features: what their code computes."""
    weights, metadata = golden('vimpac_a_weights')
    torch.save(dict(state_dict={prefix + name: value for name, value in weights.items()}), tmp_path / 'classifier.pt')
    convert('vimpac', tmp_path / 'classifier.pt', tmp_path / 'a.safetensors', '--num-heads', metadata['num_heads'])
    model = load_pretrained(tmp_path / 'a.safetensors')
    assert isinstance(model, Pretrainer)
    assert not model.training
    assert model.objectives['mlm'].embedding is model.backbone.token_embedding.weight  # still tied
    inputs, _ = golden('vimpac_a_inputs')
    expected, _ = golden('vimpac_a_outputs')
    tokens = inputs['codes'].long().masked_fill(inputs['masked_codes'] == AUTHORS_PAD, PAD)
    with torch.no_grad():
        features = model.backbone(tokens, inputs['mask'].bool())
        torch.testing.assert_close(features.summary, expected['cls'], atol=1e-4, rtol=0)
        torch.testing.assert_close(model.objectives['nce'].projector(features.summary), expected['projection'],
                                   atol=1e-4, rtol=0)
        clip, t, h, w = expected['logit_positions'].long().unbind(1)
        logits = model.objectives['mlm'].logits(features.maps[0][clip, t, h, w])
    torch.testing.assert_close(logits, expected['logits'].float(), atol=2e-3, rtol=0)  # stored as halves


def test_load_pretrained__a_classifier_computes_the_head_on_cls(tmp_path):
    weights = finetuned_weights('cls_head.fc')
    torch.save(weights, tmp_path / 'classifier.pt')
    convert('vimpac', tmp_path / 'classifier.pt', tmp_path / 'c.safetensors')
    model = load_pretrained(tmp_path / 'c.safetensors')
    assert isinstance(model, ClipClassifier)
    tokens = torch.randint(16, (3, 2, 4, 4))
    with torch.no_grad():
        summary = model.backbone(tokens).summary
        expected = summary @ weights['cls_head.fc.weight'].t() + weights['cls_head.fc.bias']
        torch.testing.assert_close(model(tokens), expected)


def test_load_pretrained__report(pretrained):
    reports = []
    model = load_pretrained(pretrained, report_to=reports.append)
    [report] = reports
    assert set(report.loaded) == set(model.state_dict())
    assert (report.resized, report.missing, report.unexpected) == ([], [], [])
    text = str(report)
    assert 'a Pretrainer (DividedTransformer), from classifier.pt (sha256' in text
    assert 'num_heads=2: ASSUMED' in text
    assert f'loaded     {len(report.loaded):>5}' in text


def test_load_pretrained__the_report_is_logged(pretrained, monkeypatch):
    lines = []
    module = sys.modules['ssvideo.apis.load_pretrained']  # the function of the same name hides it
    monkeypatch.setattr(module, 'print_log', lambda text, logger: lines.append(text))
    load_pretrained(pretrained)
    assert len(lines) == 1
    assert 'unexpected     0' in lines[0]


def test_load_pretrained__another_grid(pretrained):
    reports = []
    model = load_pretrained(pretrained, backbone=dict(grid=(2, 8, 4), dropout=0.0), report_to=reports.append)
    assert reports[0].resized == ['backbone.positions.height: interpolated from 4 to 8 positions']
    assert reports[0].resized[0] in str(reports[0])
    weights = read_model_file(pretrained).weights
    expected = interpolate_positions(weights['backbone.positions.height'], 8)
    torch.testing.assert_close(model.backbone.positions.height.data, expected)
    assert torch.equal(model.backbone.positions.width, weights['backbone.positions.width'])
    assert (model.backbone.grid, model.backbone.drop.p) == ((2, 8, 4), 0.0)


def test_load_pretrained__strict(pretrained, tmp_path):
    def change(tensors):
        tensors.pop('backbone.cls_token')
        tensors.pop('objectives.mlm.bias')
        tensors['surprise'] = torch.zeros(1)

    path = changed(pretrained, tmp_path / 'x.safetensors', change)
    reports = []
    with pytest.raises(ValueError, match=r"missing \['backbone.cls_token', 'objectives.mlm.bias'\].*\['surprise'\]"):
        load_pretrained(path, report_to=reports.append)
    model = load_pretrained(path, strict=False, report_to=reports.append)
    for report in reports:  # given before the error, too
        assert (report.missing, report.unexpected) == (['backbone.cls_token', 'objectives.mlm.bias'], ['surprise'])
        assert 'surprise' in str(report)
    weights = read_model_file(path).weights
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items() if name in weights)


@pytest.mark.parametrize('strict', [True, False])
def test_load_pretrained__another_shape_is_always_an_error(pretrained, tmp_path, strict):
    path = changed(pretrained, tmp_path / 'x.safetensors', lambda t: t.update({'objectives.mlm.bias': torch.zeros(3)}))
    with pytest.raises(ValueError, match=r'objectives.mlm.bias \(3,\), expected \(21,\)'):
        load_pretrained(path, strict=strict)


def test_load_pretrained__says_what_is_wrong(pretrained, tmp_path):
    with pytest.raises(FileNotFoundError, match='there is no file'):
        load_pretrained(tmp_path / 'missing.safetensors')
    with pytest.raises(ValueError, match='gird'):
        load_pretrained(pretrained, backbone=dict(gird=(1, 1, 1)))
    config = '{"type": "os.system", "command": "touch %s"}' % (tmp_path / 'ran')
    write_safetensors(tmp_path / 'evil.safetensors', dict(a=torch.zeros(1)), dict(format=FORMAT, config=config))
    with pytest.raises(ValueError, match="model.type is 'os.system'.*refused"):
        load_pretrained(tmp_path / 'evil.safetensors')
    assert not (tmp_path / 'ran').exists()
    config = '{"type": "ssvideo.BlockMasker"}'
    write_safetensors(tmp_path / 'masker.safetensors', dict(a=torch.zeros(1)), dict(format=FORMAT, config=config))
    with pytest.raises(ValueError, match='without a backbone'):
        load_pretrained(tmp_path / 'masker.safetensors', backbone=dict(grid=(1, 1, 1)))
    with pytest.raises(ValueError, match='is no model with weights'):
        load_pretrained(tmp_path / 'masker.safetensors')


def test_load_pretrained__other_backbones_load_alike(tmp_path):
    """A file of BEVT's kind: nothing of the format is VIMPAC's."""
    config = dict(type='ssvideo.ClipClassifier', num_classes=3, backbone=dict(
        type='ssvideo.VideoSwin', patch_size=[2, 4, 4], embed_dims=8, depths=[1, 1], num_heads=[1, 2], window_size=[2, 4, 4]))
    saved = build_model(config)
    ModelFile(config, saved.state_dict()).save(tmp_path / 'swin.safetensors')
    reports = []
    model = load_pretrained(tmp_path / 'swin.safetensors', backbone=dict(window_size=(4, 4, 4)), report_to=reports.append)
    assert all('window (2, 4, 4) -> (4, 4, 4)' in line for line in reports[0].resized)
    assert len(reports[0].resized) == 2
    clips = torch.rand(1, 3, 2, 16, 16)
    same = load_pretrained(tmp_path / 'swin.safetensors', report_to=logging.debug)
    assert torch.equal(same(clips), saved.eval()(clips))
    assert model(clips).shape == (1, 3)
