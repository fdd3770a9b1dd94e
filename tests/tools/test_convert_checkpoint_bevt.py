"""The command line of tools/convert_checkpoint.py for BEVT: from the authors' files to what they compute, and out again."""
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from bevt_weights import finetuned_weights, pretraining_weights  # noqa: E402
from vimpac_weights import convert, golden  # noqa: E402

from ssvideo.apis import load_pretrained  # noqa: E402
from ssvideo.models import ClipClassifier, Pretrainer  # noqa: E402
from ssvideo.structures import MaskedTokens  # noqa: E402
from ssvideo.utils.model_file import read_model_file  # noqa: E402


@pytest.fixture(scope='module')
def pretrained(tmp_path_factory):
    """The golden model's file, made from a checkpoint as the authors' training saves it."""
    folder = tmp_path_factory.mktemp('bevt')
    weights = {f'module.{name}': value for name, value in pretraining_weights().items()}
    weights['module.cls_head.vae_encoder.blocks.input.w'] = torch.zeros(3)
    torch.save(dict(meta=dict(epoch=150, config='x = 1'), state_dict=weights), folder / 'latest.pth')
    convert('bevt', folder / 'latest.pth', folder / 'bevt.safetensors')
    return load_pretrained(folder / 'bevt.safetensors', report_to=lambda report: None)


@pytest.mark.parametrize('stream', ['video', 'image'])
def test_convert_bevt__golden_features_and_losses(pretrained, stream):
    assert isinstance(pretrained, Pretrainer)
    inputs, expected = golden('bevt_a_inputs')[0], golden('bevt_a_outputs')[0]
    pixels, mask, tokens = (inputs[key] for key in (stream, f'{stream}_mask', f'{stream}_tokens'))
    if stream == 'image':
        pixels, mask, tokens = pixels.unsqueeze(2), mask.unsqueeze(1), tokens.unsqueeze(1)
    else:
        mask = mask.repeat_interleave(2, dim=1)
    mask = mask.bool()
    masked, mvm = MaskedTokens(tokens.long(), mask, mask.flatten().nonzero().flatten()), pretrained.objectives['mvm']
    with torch.no_grad():
        features = pretrained.backbone(pixels.float(), mask)
        decoded = mvm.norm(mvm.decoder(features.maps, tuple(mask.shape[1:])))
        loss = mvm(features, masked)['loss']
    torch.testing.assert_close(decoded.flatten(1, 3), expected[f'{stream}_features'].float(), atol=2e-3, rtol=2e-3)  # halves
    torch.testing.assert_close(loss, expected[f'loss_{stream}'].squeeze(), atol=1e-4, rtol=0)


def test_convert_bevt__says_what_it_did(tmp_path, capsys):
    torch.save(finetuned_weights(), tmp_path / 'finetuned.pth')
    convert('bevt', tmp_path / 'finetuned.pth', tmp_path / 'c.safetensors', '--window', '4', '7', '7')
    printed = capsys.readouterr().out
    assert 'window_size=(4, 7, 7): from --window' in printed
    assert 'mask_embedding: zeros' in printed
    assert 'num_classes: 5' in printed
    model = load_pretrained(tmp_path / 'c.safetensors', report_to=lambda report: None)
    assert isinstance(model, ClipClassifier)
    assert read_model_file(tmp_path / 'c.safetensors').source['file'] == 'finetuned.pth'


def test_convert_bevt__another_window(tmp_path):
    """From (4, 7, 7) tables to windows of 8 frames, as SSv2's recipe does."""
    torch.save(finetuned_weights(), tmp_path / 'finetuned.pth')
    convert('bevt', tmp_path / 'finetuned.pth', tmp_path / 'c.safetensors')
    reports = []
    model = load_pretrained(tmp_path / 'c.safetensors', backbone=dict(window_size=(8, 7, 7)), report_to=reports.append)
    assert len(reports[0].resized) == 5
    assert 'window (4, 7, 7) -> (8, 7, 7)' in reports[0].resized[0]
    assert len(model.backbone.layers[0].blocks[0].attn.relative_position_bias_table) == 15 * 169


def test_convert_swin_2d__writes_backbone_names(tmp_path, capsys):
    from timm.models.swin_transformer import SwinTransformer
    image_model = SwinTransformer(img_size=32, embed_dim=8, window_size=2, depths=(1, 1), num_heads=(1, 2), num_classes=3)
    torch.save(image_model.state_dict(), tmp_path / 'swin.pth')
    convert('swin2d', tmp_path / 'swin.pth', tmp_path / 'swin.safetensors')
    assert 'layers.N.downsample: moved' in capsys.readouterr().out
    model = load_pretrained(tmp_path / 'swin.safetensors', report_to=lambda report: None).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(images.unsqueeze(2)), image_model.eval()(images))


@pytest.mark.parametrize(('words', 'message'), [
    (('bevt', 'missing.pth', 'out.safetensors'), 'there is no file'),
    (('bevt', 'good.pth', 'out.pth'), 'ends in .safetensors'),
    (('bevt', 'good.pth', 'out.safetensors', '--window', '8', '7', '7'), 'does not fit the bias tables'),
    (('swin2d', 'good.pth', 'out.safetensors'), 'convert a video model with "bevt"'),
    (('bevt', 'other.pth', 'out.safetensors'), 'not weights of BEVT'),
    (('swin2d', 'other.pth', 'out.safetensors'), 'not weights of a 2D Swin'),
    (('mmaction', 'good.pth', 'out.pth'), 'not a model file'),
    (('mmaction', 'good.pth', 'out.safetensors'), 'end in .pth')])
def test_convert__errors_are_one_line_and_leave_no_file(tmp_path, words, message):
    torch.save(finetuned_weights(), tmp_path / 'good.pth')
    torch.save(dict(a=torch.zeros(1)), tmp_path / 'other.pth')
    before = sorted(tmp_path.iterdir())
    kind, source, out, *rest = words
    with pytest.raises(SystemExit, match=message) as error:
        convert(kind, tmp_path / source, tmp_path / out, *rest)
    assert '\n' not in str(error.value)
    assert sorted(tmp_path.iterdir()) == before
