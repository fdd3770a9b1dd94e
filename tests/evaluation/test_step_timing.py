"""Seconds go to the part that used them, and bytes are those that lived at once."""
from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import nn

import ssvideo.models  # noqa: F401
from ssvideo.evaluation.random_batches import describe_batch, num_videos, random_batch
from ssvideo.evaluation.step_timing import BACKBONE, HEAD, PARTS, Meter, TrainingStep, matrix_peak, timed_parts
from ssvideo.models.tokenizers import DalleVAE
from ssvideo.registry import MODELS

CPU = torch.device('cpu')
SWIN = dict(type='VideoSwin', patch_size=(2, 4, 4), embed_dims=8, depths=(1, 1), num_heads=(1, 2), window_size=(2, 4, 4))
PIPELINE = [dict(type='SampleClips', clip_len=4, num_clips=2), dict(type='CenterCrop', crop_size=16)]


class OneLayer(BaseModel):
    """1000 x 1000 weights; 500 rows in, and 500 x 1000 numbers out of the layer."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1000, 1000, bias=False)

    def forward(self, rows, mode='loss'):
        return dict(loss=self.layer(rows).square().sum())


def pretrainer(**words):
    return MODELS.build(dict(
        type='Pretrainer', data_preprocessor=dict(type='ClipPreprocessor', mean=[0.] * 3, std=[1.] * 3), backbone=SWIN,
        maskers=dict(video=dict(type='Random3DMasker'), image=dict(type='Random3DMasker')),
        objectives=dict(mvm=dict(type='MVM', vocab_size=16, decoder=dict(type='SwinDecoder'))), **words))


def nested_parts() -> tuple[Meter, float]:
    meter, started = Meter(CPU), time.perf_counter()
    with meter.part('outer'):
        time.sleep(0.02)
        with meter.part('inner'):
            time.sleep(0.1)
            torch.ones(50_000_000).sum()
        with meter.part('inner'):
            time.sleep(0.1)
    return meter, time.perf_counter() - started


def test_meter__a_part_within_another_counts_for_itself():
    # in a process of its own, whose peak other tests have hardly raised
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context('spawn')) as fresh:
        meter, whole = fresh.submit(nested_parts).result()
    assert meter.seconds['inner'] >= 0.2 and meter.seconds['outer'] >= 0.02
    assert sum(meter.seconds.values()) <= whole, 'no time counts twice'
    assert meter.raised['inner'] > 100e6 and meter.raised['outer'] < 50e6


def test_training_step__peak_memory_by_hand():
    model = OneLayer()
    optimiser = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=1e-3))
    step = TrainingStep(model, optimiser, dict(rows=torch.rand(500, 1000)), CPU)
    model.data_preprocessor.forward = lambda batch, training: batch
    before = model.layer.weight.clone()
    step()
    assert not torch.equal(model.layer.weight, before)
    state, gradient, output = 3 * 4e6, 4e6, 2e6  # weights and two moments; of the weights; of the layer
    assert step.peak_memory() >= state + gradient + output
    assert step.peak_memory() == pytest.approx(state + 2 * gradient + output, rel=0.25)  # AdamW's own temporaries


def test_training_step__parts_of_a_pretraining_and_of_a_classifier():
    loader = dict(dataset=dict(pipeline=PIPELINE), batch_size=2)
    classifier = MODELS.build(dict(type='ClipClassifier', num_classes=3, backbone=SWIN,
                                   data_preprocessor=dict(type='ClipPreprocessor', mean=[0.] * 3, std=[1.] * 3)))
    for model, loaders, some in ((pretrainer(), dict(video=loader, image=dict(loader, batch_size=6)), {BACKBONE, HEAD}),
                                 (classifier, loader, {BACKBONE})):
        optimiser = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
        step = TrainingStep(model, optimiser, random_batch(model, loaders, batch_size=1), CPU)
        assert num_videos(step.batch) == 1
        meter = Meter(CPU)
        logged = step(meter)
        assert logged['loss'].isfinite()
        assert some <= meter.seconds.keys() <= set(PARTS) and min(meter.seconds.values()) > 0
        assert step.seconds() > 0
        with timed_parts(model, Meter(CPU)):
            pass
        assert not {'draw_mask', 'tokenize', 'encode', 'extract_feat'} & set(vars(model)), 'the model is as it was'


def test_random_batch__of_every_kind(tmp_path):
    loader = dict(dataset=dict(pipeline=PIPELINE), batch_size=2)
    batch = random_batch(pretrainer(), dict(video=loader, image=dict(loader, batch_size=6)), batch_size=4, shape=(2, 32, 32))
    assert describe_batch(batch) == '4 x 2 x 2 x 32 x 32 video, 12 x 2 x 2 x 32 x 32 image'
    assert batch['video']['tokens'][0].shape == (2, 2, 8, 8), 'no tokenizer: targets come from a store'
    DalleVAE(16, 4, num_blocks=1).save_tokenizer(tmp_path / 'dalle.safetensors')
    tokenizer = dict(type='DalleTokenizer', checkpoint=str(tmp_path / 'dalle.safetensors'))
    assert 'tokens' not in random_batch(pretrainer(tokenizer=tokenizer), dict(video=loader, image=loader))['video']
    tokens = MODELS.build(dict(type='ClipClassifier', num_classes=3, backbone=dict(
        type='DividedTransformer', grid=(2, 4, 4), vocab_size=16, embed_dims=24, num_layers=1, num_heads=4)))
    batch = random_batch(tokens, dict(dataset=dict(clip_len=2, num_clips=3), batch_size=2))
    assert describe_batch(batch) == '2 x 3 x 2 x 4 x 4 tokens' and len(batch['data_samples']) == 2


def test_matrix_peak__is_a_rate_of_this_machine():
    a = torch.randn(512, 512)
    started = time.perf_counter()
    a @ a
    slow = 2 * 512**3 / (time.perf_counter() - started)
    assert 0.01 * slow < matrix_peak(CPU, torch.float32, seconds=0.1) < 1e15
