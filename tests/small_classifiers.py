"""Fine-tuned models, one that reads pixels and one that reads tokens, with an uneven labelled list, that are often right."""
from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor

from ssvideo.datasets.token_store import TokenStore, TokenStoreWriter
from ssvideo.registry import MODELS
from tests.video_files import sequential_decode, write_video

ROOT = Path(__file__).parents[1]
NUM_VIDEOS, NUM_CLASSES, LENGTH, SIDE, WIDTH = 7, 6, 17, 32, 48
LABELS = [0, 1, 2, 3, 4, 0, 3]  # the model takes video i for class i % 6
STARTS = dict(pixels=[2, 8], tokens=[3, 10])  # of two clips of 4 frames: in the middle of the halves of where a clip may begin
CORNERS = (0, WIDTH - SIDE, (WIDTH - SIDE) // 2)
BASE = """
custom_imports = dict(imports=['ssvideo'])
default_scope = 'mmaction'
test_evaluator = dict(type='AccMetric', metric_options=dict(top_k_accuracy=dict(topk=(1, 5))))
test_cfg = dict(type='TestLoop')
default_hooks = dict(strict_load=dict(type='ssvideo.StrictLoadHook'))
randomness = dict(seed=0)
"""
PIXELS = BASE + """
model = dict(
    type='ssvideo.ClipClassifier', num_classes=6,
    data_preprocessor=dict(type='ssvideo.ClipPreprocessor', mean=[127.5] * 3, std=[64.0] * 3),
    backbone=dict(type='ssvideo.VideoSwin', patch_size=(2, 4, 4), embed_dims=8, depths=(1, 1), num_heads=(1, 2),
                  window_size=(2, 4, 4)))
test_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ssvideo.VideoList', source='{folder}/list.txt', data_root='{folder}', test_mode=True, pipeline=[
        dict(type='ssvideo.SampleClips', clip_len=4, frame_interval=2, num_clips=2, test_mode=True),
        dict(type='ssvideo.DecodeClips'),
        dict(type='ThreeCrop', crop_size=32),
        dict(type='FormatShape', input_format='NCTHW'),
        dict(type='PackActionInputs')]))
"""
TOKENS = BASE + """
model = dict(
    type='ssvideo.ClipClassifier', num_classes=6, pool='map',
    backbone=dict(type='ssvideo.DividedTransformer', grid=(4, 2, 2), vocab_size=32, embed_dims=16, num_layers=1, num_heads=4))
test_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ssvideo.TokenClips', store='{folder}/views', clip_len=4, num_clips=2, test_mode=True))
"""


@dataclass
class SmallClassifier:
    """A model and its list.

    Args:
        kind: ``'pixels'`` or ``'tokens'``.
        config: its config file.
        checkpoint: its checkpoint.
        views: ``(7, V, ...)``, what the model reads of each video, made without the package's loading.
    """
    kind: str
    config: Path
    checkpoint: Path
    views: Tensor

    def probabilities(self) -> Tensor:
        """The slow reference, ``(7, 6)``: one view after the other, averaged."""
        model = _model(self)
        with torch.no_grad():
            return torch.stack([torch.stack([model(view[None])[0].softmax(0) for view in video]).mean(0) for video in self.views])


def make_classifier(folder: Path, kind: str) -> SmallClassifier:
    """Write everything; the linear layer has the mean features of the first six videos as its rows, so the labels decide what
    is right."""
    (folder / 'config.py').write_text(dict(pixels=PIXELS, tokens=TOKENS)[kind].format(folder=folder))
    views = _videos(folder) if kind == 'pixels' else _stores(folder)
    made = SmallClassifier(kind, folder / 'config.py', folder / 'model.pth', views)
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(made.config).model).eval()
    with torch.no_grad():
        means = torch.stack([model.extract_feat(video).mean(0) for video in views])[:NUM_CLASSES]
        centred = means - means.mean(0)
        model.fc.weight.copy_(centred / centred.square().mean() * 2)
        model.fc.bias.copy_(-(model.fc.weight * (means + means.mean(0))).sum(1) / 2)
    torch.save(dict(state_dict=model.state_dict()), made.checkpoint)
    DefaultScope._instance_dict.clear()
    return made


def load_tool(name: str):
    """A file of tools/ as a module, to call its ``main``."""
    spec = importlib.util.spec_from_file_location(f'tool_{name}', ROOT / 'tools' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _model(made: SmallClassifier):
    model = MODELS.build(Config.fromfile(made.config).model).eval()
    model.load_state_dict(torch.load(made.checkpoint, weights_only=True)['state_dict'])
    return model


def _videos(folder: Path) -> Tensor:
    views = []
    for number in range(NUM_VIDEOS):
        path = write_video(folder / f'{number}.mp4', num_frames=LENGTH, size=(WIDTH, SIDE), first=40 * (number % NUM_CLASSES))
        frames = torch.stack([torch.from_numpy(frame.copy()) for frame in sequential_decode(path)[1]])
        frames = (frames.permute(3, 0, 1, 2).float() - 127.5) / 64  # (3, 17, 32, 48)
        views.append(torch.stack([frames[:, start:start + 8:2, :, left:left + SIDE]
                                  for start in STARTS['pixels'] for left in CORNERS]))
    (folder / 'list.txt').write_text(''.join(f'{number}.mp4 {label}\n' for number, label in enumerate(LABELS)))
    return torch.stack(views)


def _stores(folder: Path) -> Tensor:
    manifest = dict(tokenizer='abc', fps=8.0, size=(16, 16), grid=(2, 2), vocab_size=32)
    views = []
    for view in range(2):
        writer = TokenStoreWriter(folder / 'views' / f'view_{view}', manifest)
        ids = torch.randint(5, (NUM_VIDEOS, LENGTH, 2, 2), generator=torch.Generator().manual_seed(view))
        ids = ids + 5 * (torch.arange(NUM_VIDEOS) % NUM_CLASSES)[:, None, None, None]
        for number, label in enumerate(LABELS):
            writer.write(f'{number}.mp4', ids[number], label)
        writer.close()
        views += [ids[:, start:start + 4] for start in STARTS['tokens']]
    assert len(TokenStore(folder / 'views' / 'view_0')) == NUM_VIDEOS
    return torch.stack(views, 1)
