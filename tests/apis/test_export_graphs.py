"""Graphs compute what the model computes, and a wrong one is refused."""
from __future__ import annotations

import pytest
import torch

import ssvideo.models  # noqa: F401
from ssvideo.apis import export_graphs as module
from ssvideo.apis.export_graphs import export_graphs
from ssvideo.registry import MODELS

SWIN = dict(type='VideoSwin', patch_size=(2, 4, 4), embed_dims=8, depths=(1, 2), num_heads=(1, 2), window_size=(2, 4, 4))
TRANSFORMER = dict(type='DividedTransformer', grid=(2, 4, 4), vocab_size=16, embed_dims=24, num_layers=1, num_heads=4)
PREPROCESSING = dict(clip_len=4, size=(36, 36))  # 2 x 9 x 9 patches: the windows are padded and shifted


def classifier(backbone):
    torch.manual_seed(0)
    return MODELS.build(dict(type='ClipClassifier', num_classes=3, backbone=backbone)).eval()


def opened(path):
    """The classifier of a file, run without this package."""
    if path.suffix == '.pt2':
        program = torch.export.load(path).module()
        return lambda clips: program(clips)[0]
    session = pytest.importorskip('onnxruntime').InferenceSession(path, providers=['CPUExecutionProvider'])
    return lambda clips: torch.from_numpy(session.run(['logits'], dict(clips=clips.numpy()))[0])


@pytest.mark.parametrize('backbone', [SWIN, TRANSFORMER], ids=lambda backbone: backbone['type'])
@pytest.mark.parametrize('kind', ['torch', 'onnx'])
def test_export_graphs__backbone_and_classifier(tmp_path, backbone, kind):
    if kind == 'onnx':
        for package in ('onnx', 'onnxscript', 'onnxruntime'):
            pytest.importorskip(package)
    model = classifier(backbone)
    encoder, whole = export_graphs(model, tmp_path, kind, PREPROCESSING)
    maps = tuple(f'map_{i}' for i in range(len(model.backbone.channels)))
    assert (encoder.outputs, whole.outputs) == ((*maps, 'summary'), ('logits',))
    assert encoder.inputs == whole.inputs == ((None, 3, 4, 36, 36) if backbone is SWIN else (None, 2, 4, 4))
    assert max(encoder.difference, whole.difference) < 1e-5 and f'N x {whole.inputs[1]} x' in str(whole)
    run = opened(tmp_path / whole.file)
    for number in (1, 2, 3, 5):
        clips = torch.randn(number, 3, 4, 36, 36) if backbone is SWIN else torch.randint(16, (number, 2, 4, 4))
        with torch.no_grad():
            expected = model(clips)  # fake tensors, had tracing left something of its own in the model
        torch.testing.assert_close(run(clips), expected, atol=1e-5, rtol=1e-5)


def test_export_graphs__of_a_pretrained_model_the_backbone_for_one_clip_where_it_fixes_the_number(tmp_path, monkeypatch):
    model = MODELS.build(dict(type='Pretrainer', backbone=TRANSFORMER, maskers=dict(video=dict(type='BlockMasker')),
                              objectives=dict(mlm=dict(type='MLM')))).eval()
    embed = model.backbone.embed
    monkeypatch.setattr(model.backbone, 'embed', lambda tokens, mask: torch.cat([embed(one[None], mask) for one in tokens]))
    [graph] = export_graphs(model, tmp_path, 'torch', {})
    assert graph.file == 'backbone.pt2' and (tmp_path / 'backbone.pt2').is_file()
    assert graph.inputs == (1, 2, 4, 4)


def test_export_graphs__another_result_is_an_error(tmp_path, monkeypatch):
    write, trace, model, traced = module._write_program, module._trace, classifier(TRANSFORMER), {}
    monkeypatch.setattr(module, '_trace', lambda part, draw, name: traced.get(name) or traced.setdefault(
        name, trace(part, draw, name)))  # once, as the model stays the same
    for change, message in ((lambda value: value + 2e-4, r'logits differs by 0.0002, more than 0.0001'),
                            (lambda value: value[:, :2], r'logits is \(1, 2\), expected'),
                            (lambda value: value * float('nan'), 'logits differs by nan')):
        def wrong(program, path, change=change):
            run = write(program, path)
            return lambda clips: [change(value) if path.name == 'classifier.pt2' else value for value in run(clips)]
        monkeypatch.setattr(module, '_write_program', wrong)
        monkeypatch.setattr(module, 'NUMS_CHECKED', (1,))
        with pytest.raises(ValueError, match=f'classifier.pt2 does not compute what the model does: {message}'):
            export_graphs(model, tmp_path, 'torch', {})


def test_export_graphs__says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'onnx', None)
    with pytest.raises(ValueError, match='pip install onnx onnxscript onnxruntime'):
        export_graphs(classifier(TRANSFORMER), tmp_path, 'onnx', {})
