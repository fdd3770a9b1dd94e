"""extract_features, tokenize and reconstruct: from a video file to what a model says of it."""
from __future__ import annotations

import pytest
import torch

from ssvideo.apis import extract_features, load_pretrained, reconstruct, tokenize
from ssvideo.datasets.broken import BrokenFileError
from ssvideo.datasets.video_windows import Window, read_windows
from ssvideo.models.tokenizers import DalleVAE, load_tokenizer
from ssvideo.registry import MODELS
from ssvideo.utils.model_file import ModelFile
from tests.video_files import write_video

VOCAB = 16
VIMPAC = dict(
    type='Pretrainer', backbone=dict(type='DividedTransformer', grid=(4, 4, 4), vocab_size=VOCAB, embed_dims=24, num_layers=1,
                                     num_heads=4),
    maskers=dict(video=dict(type='BlockMasker', num_blocks=2)), objectives=dict(mlm=dict(type='MLM')))
SWIN = dict(type='VideoSwin', patch_size=(2, 4, 4), embed_dims=8, depths=(1, 1, 2, 1), num_heads=(1, 2, 2, 4),
            window_size=(2, 4, 4))
PIXELS = dict(type='ClipPreprocessor', mean=[127.5] * 3, std=[64.0] * 3)
BEVT = dict(
    type='Pretrainer', backbone=SWIN, data_preprocessor=PIXELS, maskers=dict(video=dict(type='TubeMasker', temporal_stride=2)),
    objectives=dict(mvm=dict(type='MVM', vocab_size=VOCAB, decoder=dict(type='SwinDecoder', branches=('video',)))))
CLASSIFIER = dict(type='ClipClassifier', backbone=SWIN, data_preprocessor=PIXELS, num_classes=3)


@pytest.fixture
def video(tmp_path) -> str:
    return str(write_video(tmp_path / 'video.mp4', num_frames=60))  # 2.4 s of 96 x 64


@pytest.fixture
def dalle(tmp_path) -> str:
    torch.manual_seed(0)
    DalleVAE(VOCAB, 8, num_blocks=1).save_tokenizer(tmp_path / 'dalle.safetensors')
    return str(tmp_path / 'dalle.safetensors')


def loaded(tmp_path, config: dict):
    """A model, by way of its file."""
    torch.manual_seed(0)
    ModelFile(config, MODELS.build(config).state_dict()).save(tmp_path / 'model.safetensors')
    return load_pretrained(tmp_path / 'model.safetensors', report_to=lambda report: None)


def test_extract_features__of_pixels_are_the_backbone_s(tmp_path, video):
    model = loaded(tmp_path, CLASSIFIER)
    found = extract_features(model, video, num_frames=4, fps=5, size=32, tokens=True, batch_size=2)
    assert found.starts == pytest.approx([0, 0.8, 1.6])
    [(_, frames)] = read_windows(video, Window(4, 5, 32))
    with torch.no_grad():
        expected = model.backbone((frames - 127.5) / 64)
    torch.testing.assert_close(found.summary, expected.summary)
    torch.testing.assert_close(found.tokens, expected.maps[-1])
    assert extract_features(model, video, num_frames=4, fps=5, size=32).tokens is None


def test_extract_features__of_tokens_knows_its_window(tmp_path, video, dalle):
    model = loaded(tmp_path, VIMPAC)
    found = extract_features(model, video, fps=5, tokenizer=dalle, stride=0.4)
    [(starts, frames)] = read_windows(video, Window(4, 5, 32, stride=0.4))
    assert found.starts == pytest.approx(starts)
    with torch.no_grad():
        torch.testing.assert_close(found.summary, model.backbone(load_tokenizer(dalle)(frames / 255)).summary)


def test_extract_features__can_be_learned_from(tmp_path, video):
    summary = extract_features(loaded(tmp_path, CLASSIFIER), video, num_frames=4, fps=5, size=32).summary
    torch.nn.Linear(summary.shape[1], 2)(summary).sum().backward()


def test_extract_features__what_the_model_does_not_tell_is_asked_for(tmp_path, video, dalle):
    with pytest.raises(ValueError, match='say num_frames, fps, size of the windows'):
        extract_features(loaded(tmp_path, CLASSIFIER), video)
    model = loaded(tmp_path, VIMPAC)
    with pytest.raises(ValueError, match='which tokenizer'):
        extract_features(model, video, fps=5)
    with pytest.raises(ValueError, match='num_frames=8, but the model reads windows of 4'):
        extract_features(model, video, fps=5, tokenizer=dalle, num_frames=8)
    with pytest.raises(ValueError, match='has no backbone'):
        extract_features(load_tokenizer(dalle), video, fps=5)


def test_tokenize__is_each_frame_in_its_place(video, dalle):
    tokenizer = load_tokenizer(dalle)
    tokens = tokenize(dalle, video, fps=5, size=32)
    [(_, frames)] = read_windows(video, Window(12, 5, 32))
    assert tokens.shape == (12, 4, 4)
    assert torch.equal(tokens, tokenizer(frames / 255)[0])
    assert torch.equal(tokenize(tokenizer, video, fps=5, size=32), tokens)


def test_tokenize__what_does_not_fit_is_said(tmp_path, video, dalle):
    with pytest.raises(ValueError, match='size=36 does not divide'):
        tokenize(dalle, video, fps=5, size=36)
    (tmp_path / 'broken.mp4').write_bytes(b'no video')
    with pytest.raises(BrokenFileError):
        tokenize(dalle, tmp_path / 'broken.mp4', fps=5, size=32)


@pytest.mark.parametrize(('config', 'window'), [(VIMPAC, {}), (BEVT, dict(num_frames=4, size=64))])
def test_reconstruct__of_a_file_s_model_and_a_tokenizer(tmp_path, video, dalle, config, window):
    found = reconstruct(loaded(tmp_path, config), video, tokenizer=dalle, fps=5, **window)
    assert found.tokens.shape == (1, 4, 4, 4)
    assert found.frames.shape == (1, 3, 4, *[window.get('size', 32)] * 2)
    assert 0 < found.measure(0)['hidden'] < 1
    assert torch.equal(found.filled[~found.mask], found.tokens[~found.mask])
    again = reconstruct(loaded(tmp_path, config), video, tokenizer=dalle, fps=5, **window)
    assert torch.equal(again.mask, found.mask) and torch.equal(again.filled, found.filled)


def test_reconstruct__a_classifier_predicts_no_tokens(tmp_path, video, dalle):
    with pytest.raises(ValueError, match='predicts no tokens'):
        reconstruct(loaded(tmp_path, CLASSIFIER), video, tokenizer=dalle, fps=5)
