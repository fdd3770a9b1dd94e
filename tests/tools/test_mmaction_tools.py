"""mmaction2's own tools, as its wheel ships them, on a config, a checkpoint and a dump of ours: their numbers are ours."""
from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from ssvideo.evaluation.flops import count_macs
from ssvideo.registry import MODELS
from tests.small_classifiers import LABELS, NUM_CLASSES, NUM_VIDEOS, ROOT, load_tool, make_classifier


@pytest.fixture(autouse=True)
def no_scope_left():
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    return make_classifier(tmp_path_factory.mktemp('mmaction'), 'pixels')


@pytest.fixture(scope='module')
def ours(made):
    """The figures of our own ``test.py``, and the file that it dumped."""
    tool, found, folder = load_tool('test'), {}, made.config.parent
    tool.line_of = lambda figures: found.update(figures) or ''
    tool.main([str(made.config), str(made.checkpoint), '--work-dir', str(folder / 'ours'), '--dump', str(folder / 'ours.pkl')])
    DefaultScope._instance_dict.clear()
    assert 0 < found['acc/top1'] < found['acc/top5'], 'some are right and some are wrong'
    return found, folder / 'ours.pkl'


def start(tool: str, *words, mended: bool = False) -> str:
    """Run a tool of the wheel as a process, as it is or through ours; what it printed."""
    path = load_tool('mmaction_tool').tool_of(tool)
    command = [ROOT / 'tools' / 'mmaction_tool.py', tool] if mended else [path]
    done = subprocess.run([sys.executable, *map(str, [*command, *words])], env=os.environ | dict(OMP_NUM_THREADS='1'),
                          capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_mmaction_tools__test(made, ours, tmp_path):
    start('test', made.config, made.checkpoint, '--work-dir', tmp_path, '--dump', tmp_path / 'theirs.pkl')
    log, = tmp_path.glob('*/*.json')
    figures = json.loads(log.read_text())
    assert {name: figures[name] for name in ours[0]} == pytest.approx(ours[0])
    one, other = (pickle.loads(file.read_bytes()) for file in (ours[1], tmp_path / 'theirs.pkl'))  # both just written
    assert len(one) == len(other) == NUM_VIDEOS
    assert all(torch.equal(a['pred_score'], b['pred_score']) for a, b in zip(one, other))


def test_mmaction_tools__eval_metric(made, ours):
    said = start('analysis_tools/eval_metric', made.config, ours[1])
    figures = {name: float(value) for name, value in re.findall(r"'(acc/\w+)': np.float64\((.*?)\)", said)}
    assert figures == pytest.approx(ours[0])


def test_mmaction_tools__report_accuracy_of_two_dumps(made, ours):
    said = start('report_accuracy', '--preds', ours[1], ours[1], '--coefficients', 1, 2)
    figures = [float(value) for value in re.findall(r'Accuracy: (\S+)', said)]
    assert figures == pytest.approx([ours[0][f'acc/{name}'] for name in ('mean1', 'top1', 'top5')], abs=5e-5)


def test_mmaction_tools__confusion_matrix(made, ours, tmp_path):
    start('confusion_matrix', made.config, ours[1], '--out', tmp_path / 'matrix.pkl', mended=True)
    found = pickle.loads((tmp_path / 'matrix.pkl').read_bytes())
    expected = torch.zeros(NUM_CLASSES, NUM_CLASSES, dtype=torch.long)
    for label, predicted in zip(LABELS, made.probabilities().argmax(1).tolist()):
        expected[label, predicted] += 1
    assert torch.equal(found, expected)
    assert found.trace() / NUM_VIDEOS == pytest.approx(ours[0]['acc/top1'])


def test_mmaction_tools__get_flops(made):
    """Its counter has no rule for fused attention, and counts 5 for each number that a norm takes."""
    said = start('get_flops', made.config, '--shape', 1, 3, 4, 32, 32)
    with torch.device('meta'):
        model = MODELS.build(Config.fromfile(made.config).model).eval()
    parts, _ = count_macs(model, lambda: model.extract_feat(torch.zeros(1, 3, 4, 32, 32, device='meta')))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert parameters == sum(part.parameters for part in parts)
    tokens = ((2 * 8 * 8, 8), (2 * 4 * 4, 16))  # of the two stages, and their channels; windows hold 32 tokens
    attention = sum(2 * number * 32 * dims for number, dims in tokens)
    (many, dims), (few, wide) = tokens
    norms = many * dims * 3 + few * 4 * dims + few * wide * 3  # patches, two in each block, the merging, the last
    macs = sum(part.macs for part in parts) - attention + 5 * norms
    assert f'Params: {parameters / 1e3:.4g}K' in said
    assert f'Flops: {macs / 1e6:.3f}M' in said


def test_mmaction_tool__names(capsys):
    tool = load_tool('mmaction_tool')
    assert tool.tool_of('analysis_tools/confusion_matrix.py') == tool.tool_of('confusion_matrix')
    with pytest.raises(SystemExit, match="mmaction2 has no tool 'confusion': did you mean confusion_matrix?"):
        tool.main(['confusion'])
    with pytest.raises(ValueError, match=r"\d tools are called 'download': write one of .*'data/hvu/download'"):
        tool.tool_of('download')
    assert tool.parse_args(['report_accuracy', '--help', '--preds', 'a.pkl']).words == ['--help', '--preds', 'a.pkl']
    tool.main([])
    assert {'test', 'analysis_tools/get_flops', 'analysis_tools/report_accuracy'} <= set(capsys.readouterr().out.split())
