"""``tools/test.py --temporal``, with models that are right because of the order of frames, and because of their look."""
from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope

import ssvideo.engine  # noqa: F401
from ssvideo.datasets.token_store import TokenStoreWriter
from ssvideo.evaluation.temporal import reordered_dataset, temporal_table
from ssvideo.registry import MODELS

NUM_VIDEOS = 24
TOOL = Path(__file__).parents[2] / 'tools' / 'test.py'


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('ssvideo_tools_test', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def no_scope_left():
    yield
    DefaultScope._instance_dict.clear()


class _Judge(BaseModel):
    """Says 1 where a number of the clip is above 0, averaged over the views; the weight turns the answer round."""

    def __init__(self):
        super().__init__(MODELS.build(dict(type='ClipPreprocessor')))
        self.sign = torch.nn.Parameter(torch.tensor(-1.0))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        clips = inputs.frames if inputs.tokens is None else inputs.tokens[:, None]
        scores = self.judge(clips.float().flatten(3).mean((1, 3))) * self.sign  # of (N, T), the mean value of each frame
        for sample, score in zip(data_samples, scores.unflatten(0, (-1, len(data_samples))).mean(0)):
            sample.set_pred_score(torch.stack((-score, score))).set_pred_label((score > 0).long().view(1))
        return data_samples


@MODELS.register_module(force=True)
class JudgeByOrder(_Judge):
    """The clip grows brighter. A clip that stands still is of class 0."""

    def judge(self, values):
        return (values[:, 1:] - values[:, :-1]).sign().sum(1) - 0.5


@MODELS.register_module(force=True)
class JudgeByLook(_Judge):
    """The clip is bright."""

    def judge(self, values):
        return values.mean(1) - 128


def ramp(number: int, length: int = 16) -> np.ndarray:
    """Grey levels by frame: videos of odd number grow brighter and are bright, the others grow darker and are dark."""
    levels = 160 + 4 * np.arange(length)
    return levels if number % 2 else 255 - levels


def write_videos(root: Path) -> Path:
    for number in range(NUM_VIDEOS):
        with av.open(str(root / f'{number}.mp4'), 'w') as container:
            stream = container.add_stream('libx264', rate=8)
            stream.width = stream.height = 32
            stream.pix_fmt = 'yuv420p'
            for level in ramp(number):
                frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), level, np.uint8), format='rgb24')
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    (root / 'list.txt').write_text(''.join(f'{root}/{number}.mp4 {number % 2}\n' for number in range(NUM_VIDEOS)))
    return root / 'list.txt'


@pytest.fixture(scope='module')
def datasets(tmp_path_factory) -> dict[str, dict]:
    root = tmp_path_factory.mktemp('data')
    pixels = dict(type='ssvideo.VideoList', source=str(write_videos(root)), labels=True, test_mode=True, pipeline=[
        dict(type='ssvideo.SampleClips', clip_len=5, frame_interval=2, num_clips=2, test_mode=True),
        dict(type='ssvideo.DecodeClips'), dict(type='FormatShape', input_format='NCTHW'), dict(type='PackActionInputs')])
    writer = TokenStoreWriter(root / 'tokens', dict(tokenizer='abc', fps=8.0, size=(16, 16), grid=(2, 2), vocab_size=256))
    for number in range(NUM_VIDEOS):
        writer.write(f'{number}.mp4', torch.from_numpy(ramp(number))[:, None, None].expand(-1, 2, 2), number % 2)
    writer.close()
    tokens = dict(type='ssvideo.TokenClips', store=str(root / 'tokens'), clip_len=5, num_clips=2, test_mode=True)
    return dict(pixels=pixels, tokens=tokens)


def run(tool, tmp_path: Path, model: str, dataset: dict, *words: str) -> None:
    torch.save(dict(state_dict={'sign': torch.tensor(1.0)}), tmp_path / 'right.pth')
    config = dict(
        default_scope='mmaction', custom_imports=dict(imports=['ssvideo']), model=dict(type=f'ssvideo.{model}'),
        test_dataloader=dict(batch_size=5, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False), dataset=dataset),
        test_cfg=dict(type='TestLoop'),
        test_evaluator=dict(type='AccMetric', metric_options=dict(top_k_accuracy=dict(topk=(1,)))),
        custom_hooks=[dict(type='EMAHook')],  # begins once, however many orders there are
        randomness=dict(seed=0), log_level='ERROR')
    (tmp_path / 'config.py').write_text('\n'.join(f'{key} = {value!r}' for key, value in config.items()))
    tool.main([str(tmp_path / 'config.py'), str(tmp_path / 'right.pth'), '--work-dir', str(tmp_path / 'work'), *words])


@pytest.mark.parametrize('kind', ['pixels', 'tokens'])
def test_temporal__a_model_that_needs_order_collapses_and_one_that_does_not_stays(tool, datasets, kind, tmp_path, capsys):
    for model in ('JudgeByOrder', 'JudgeByLook'):
        folder = tmp_path / model
        folder.mkdir()
        run(tool, folder, model, datasets[kind], '--temporal', 'all')
        found = json.loads((folder / 'work' / 'temporal.json').read_text())
        top1 = {order: row['acc/top1'] for order, row in found['figures'].items()}
        assert found['seed'] == 0 and found['checkpoint'] == str(folder / 'right.pth')
        table = (folder / 'work' / 'temporal.md').read_text()
        assert '| % | normal | single-frame | shuffle | reverse |' in table and table in capsys.readouterr().out
        if model == 'JudgeByOrder':
            assert (top1['normal'], top1['single-frame'], top1['reverse']) == (1, 0.5, 0), 'a still clip is always called class 0'
            assert 0.2 < top1['shuffle'] < 0.8
        else:
            assert set(top1.values()) == {1.0}


def test_temporal__one_order_alone_gives_the_figure_of_the_table(tool, datasets, tmp_path, capsys):
    run(tool, tmp_path, 'JudgeByOrder', datasets['pixels'], '--temporal', 'all')
    figures = json.loads((tmp_path / 'work' / 'temporal.json').read_text())['figures']
    capsys.readouterr()
    run(tool, tmp_path, 'JudgeByOrder', datasets['pixels'], '--temporal', 'shuffle')
    assert f'shuffle: acc/top1 {figures["shuffle"]["acc/top1"]:.4f}' in capsys.readouterr().out
    run(tool, tmp_path, 'JudgeByOrder', datasets['pixels'])
    assert '\nacc/top1 1.0000' in capsys.readouterr().out


def test_temporal__predictions_of_all_orders_do_not_fit_one_file(tool, tmp_path, capsys):
    with pytest.raises(SystemExit):
        tool.parse_args(['config.py', 'a.pth', '--temporal', 'all', '--dump', 'a.pkl'])
    assert 'name one order' in capsys.readouterr().err


def test_reordered_dataset__stands_before_decoding_and_refuses_what_it_does_not_know():
    pipeline = [dict(type='ssvideo.SampleClips'), dict(type='ssvideo.DecodeClips'), dict(type='ThreeCrop')]
    dataset = dict(type='ssvideo.VideoList', pipeline=pipeline)
    found = [transform['type'] for transform in reordered_dataset(dataset, 'reverse', 0)['pipeline']]
    assert found == ['ssvideo.SampleClips', 'ssvideo.ReorderFrames', 'ssvideo.DecodeClips', 'ThreeCrop']
    assert len(pipeline) == 3 and reordered_dataset(dataset, 'normal', 0) == dataset
    with pytest.raises(ValueError, match='expected a TokenClips, or a pipeline with one ssvideo.DecodeClips'):
        reordered_dataset(dict(type='VideoDataset', pipeline=[dict(type='DecordInit')]), 'reverse', 0)


def test_temporal_table__a_row_for_each_metric_in_percent():
    figures = dict(normal={'acc/top1': 0.806, 'acc/top5': 0.95, 'confusion': [1]}, shuffle={'acc/top1': 0.778, 'acc/top5': 0.9})
    assert temporal_table(figures) == (
        '| % | normal | shuffle |\n| --- | --- | --- |\n| acc/top1 | 80.6 | 77.8 |\n| acc/top5 | 95.0 | 90.0 |\n')
