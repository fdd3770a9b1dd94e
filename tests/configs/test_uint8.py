"""From the decoder to the device every recipe's frames are bytes: a quarter of what floats would take to hand over."""
from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope, init_default_scope
from PIL import Image

from ssvideo.datasets.video_list import build_transform

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tests'))
import video_files as files  # noqa: E402


def pipelines_of(node) -> list[list]:
    """Every pipeline of pixels below a part of a config."""
    if isinstance(node, dict):
        found = [pipeline for key, value in node.items() if key != 'pipeline' for pipeline in pipelines_of(value)]
        steps = node.get('pipeline') or []
        reads = any(step['type'] in ('ssvideo.DecodeClips', 'ssvideo.LoadImage') for step in steps)
        return [*found, steps] if reads else found
    return [pipeline for value in node for pipeline in pipelines_of(value)] if isinstance(node, (list, tuple)) else []


CONFIGS = [path for path in sorted(ROOT.glob('configs/**/*.py'))
           if '_base_' not in path.parts and path.stem != 'bevt_swin_b_stored']


@pytest.fixture(scope='module')
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp('media')
    Image.fromarray(files.picture(1, 340, 256)).save(folder / 'a.jpg')
    return {'ssvideo.LoadImage': folder / 'a.jpg', 'ssvideo.DecodeClips': files.write_video(folder / 'a.mp4', 20, size=(128, 96))}


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: str(path.relative_to(ROOT / 'configs')))
def test_pipelines__carry_bytes_from_the_decoder_to_the_device(path, media):
    cfg = Config.fromfile(path)
    init_default_scope('mmaction')
    try:
        for steps in pipelines_of([cfg.get(key) for key in ('dataset', 'train_dataloader', 'val_dataloader', 'test_dataloader')]):
            reader = next(step['type'] for step in steps if step['type'] in media)
            results = dict(filename=str(media[reader]), sample_idx=0, modality='RGB', start_index=0, label=0)
            for step in steps:
                results = build_transform(step)(results)
                assert all(np.asarray(image).dtype == np.uint8 for image in results.get('imgs', ())[:1]), step
            assert results['inputs'].dtype == torch.uint8
    finally:
        DefaultScope._instance_dict.clear()
