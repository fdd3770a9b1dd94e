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
    assert encoder.inputs[1:] == ((3, 4, 36, 36) if backbone is SWIN else (2, 4, 4))
    assert max(encoder.difference, whole.difference) < 1e-5 and f'{whole.difference:.1e}' in str(whole)
    clips = torch.randn(1, 3, 4, 36, 36) if backbone is SWIN else torch.randint(16, (1, 2, 4, 4))
    with torch.no_grad():
        expected = model(clips)  # fake tensors, had tracing left something of its own in the model
        if kind == 'torch':
            torch.testing.assert_close(torch.export.load(tmp_path / 'classifier.pt2').module()(clips)[0], expected)
    assert expected.isfinite().all()


def test_export_graphs__of_a_pretrained_model_the_backbone(tmp_path):
    model = MODELS.build(dict(type='Pretrainer', backbone=TRANSFORMER, maskers=dict(video=dict(type='BlockMasker')),
                              objectives=dict(mlm=dict(type='MLM')))).eval()
    [graph] = export_graphs(model, tmp_path, 'torch', {})
    assert graph.file == 'backbone.pt2' and (tmp_path / 'backbone.pt2').is_file()


def test_export_graphs__another_result_is_an_error(tmp_path, monkeypatch):
    write = module._write_program
    for change, message in ((lambda value: value + 2e-4, r'logits differs by 0.0002, more than 0.0001'),
                            (lambda value: value[:, :2], r'logits is \(1, 2\), expected'),
                            (lambda value: value * float('nan'), 'logits differs by nan')):
        def wrong(program, path, change=change):
            run = write(program, path)
            return lambda clips: [change(value) if path.name == 'classifier.pt2' else value for value in run(clips)]
        monkeypatch.setattr(module, '_write_program', wrong)
        monkeypatch.setattr(module, 'NUM_TRACED', 1)
        monkeypatch.setattr(module, 'NUM_CHECKED', 1)
        with pytest.raises(ValueError, match=f'classifier.pt2 does not compute what the model does: {message}'):
            export_graphs(classifier(TRANSFORMER), tmp_path, 'torch', {})


def test_export_graphs__says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'onnx', None)
    with pytest.raises(ValueError, match='pip install onnx onnxscript onnxruntime'):
        export_graphs(classifier(TRANSFORMER), tmp_path, 'onnx', {})
