"""What a recipe does to a video, told from every kind of recipe."""
from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

from ssvideo.utils.preprocessing import preprocessing_of

ROOT = Path(__file__).parents[2]


def told(name: str, tokens: str | None = None) -> dict:
    configs = [Config.fromfile(ROOT / 'configs' / f'{path}.py') for path in (name, tokens) if path]
    return preprocessing_of(*configs)


def types(found: dict) -> list[str]:
    return [transform['type'].removeprefix('ssvideo.') for transform in found['pipeline']]


def test_preprocessing__testing_says_the_views():
    found = told('finetune/bevt_swin_b_k400')
    assert {key: found[key] for key in ('loader', 'clip_len', 'frame_interval', 'fps', 'num_clips', 'crops', 'size')} == dict(
        loader='test_dataloader', clip_len=32, frame_interval=2, fps=None, num_clips=4, crops=3, size=[224, 224])
    assert found['mean'] == [123.675, 116.28, 103.53]
    assert types(found) == ['SampleClips', 'DecodeClips', 'Resize', 'ThreeCrop', 'FormatShape', 'PackActionInputs']
    segments = told('finetune/bevt_swin_b_ssv2')
    assert (segments['strategy'], segments['frame_interval'], segments['fps']) == ('segments', None, None)


def test_preprocessing__of_a_pretraining_the_centre_without_randomness():
    found = told('bevt_swin_b')
    assert (found['loader'], found['clip_len'], found['frame_interval'], found['num_clips'], found['size']) == (
        'train_dataloader.video', 16, 8, 1, [224, 224])
    assert types(found) == ['SampleClips', 'DecodeClips', 'Resize', 'CenterCrop', 'FormatShape', 'PackActionInputs']
    assert found['pipeline'][0]['test_mode'] and found['pipeline'][2]['scale'] == [-1, 224]
    images = told('bevt_image_swin_b')
    assert (images['clip_len'], types(images)[:2]) == (1, ['LoadImage', 'Resize'])


def test_preprocessing__of_tokens_as_they_were_extracted():
    found = told('finetune/vimpac_large_ucf101')
    assert (found['clip_len'], found['num_clips'], found['size'], found['pipeline']) == (10, 10, None, None)
    found = told('finetune/vimpac_large_ucf101', 'tokenizers/tokens_vimpac_finetune')
    assert (found['fps'], found['size'], found['crops']) == (2, [256, 256], 1)
    assert types(found) == ['SampleClips', 'DecodeClips', 'FixedView', 'FormatShape', 'PackActionInputs']
    assert found['pipeline'][0] == dict(type='ssvideo.SampleClips', test_mode=True, clip_len=10, num_clips=10, fps=2)
    found = told('quickstart/vimpac', 'quickstart/tokens')
    assert (found['num_clips'], found['fps'], found['size']) == (1, 8, [64, 64]), 'training draws two'


def test_preprocessing__says_what_is_missing():
    with pytest.raises(ValueError, match='nothing tells what a clip is'):
        preprocessing_of(dict(model={}))
    with pytest.raises(ValueError, match='no transform of its pipeline has a clip_len'):
        preprocessing_of(dict(model={}, test_dataloader=dict(dataset=dict(pipeline=[dict(type='DecodeClips')]))))
