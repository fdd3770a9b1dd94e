"""Parts of a model compiled in place."""
from __future__ import annotations

import pytest
import torch
from torch._dynamo.utils import counters
from torch._inductor.runtime.cache_dir_utils import cache_dir

from ssvideo.engine.compiled_parts import compile_parts
from tests.engine.pretraining_runs import Outputs, pretraining_run
from tests.engine.step_models import build, noise, total_loss

PARTS = ('backbone', 'objectives', 'tokenizers')
COMPILED = dict(vimpac=['backbone', 'objectives.mlm.transform', 'objectives.nce.projector'],
                bevt=['backbone', 'objectives.mvm.decoder', 'tokenizers.tokenizer'])


@pytest.fixture(autouse=True)
def nothing_compiled_before():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize('method', COMPILED)
def test_compile__no_break_no_recompile_and_the_same_gradients(method, tmp_path):
    """Masks, and so the number of masked positions and of frames to tokenize, differ from step to step."""
    plain, compiled = build(method, tmp_path), build(method, tmp_path)
    assert compile_parts(compiled, PARTS, backend='eager') == COMPILED[method]
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    counts = {}
    for step in range(5):
        losses = [total_loss(model, noise(method, step), step) for model in (plain, compiled)]
        assert torch.equal(*losses)
        for loss in losses:
            loss.backward()
        counts[step] = counters['stats']['unique_graphs']
    assert not counters['graph_break'], 'each part is one graph'
    assert counts[1] == counts[4] > 0, 'the second step, and those after it, find all graphs'
    for (name, expected), found in zip(plain.named_parameters(), compiled.parameters()):
        if expected.requires_grad:
            torch.testing.assert_close(found.grad, expected.grad, msg=lambda text, n=name: f'{n}: {text}')


class Masked:
    """Notes how many positions each step masks; a watcher of the ``Pretrainer``."""

    def __init__(self):
        self.numbers = []

    def __call__(self, stream, features, targets):
        self.numbers += [len(masked.positions) for masked in targets.values()]


def test_compile__by_one_line_of_a_config(tmp_path):
    kept = [], []
    for outputs, hook in zip(kept, (None, dict(type='ssvideo.CompileHook', parts=PARTS, backend='eager'))):
        recorded, masked = Outputs(), Masked()
        runner = pretraining_run(tmp_path / str(bool(hook)), max_epochs=1, hooks=[recorded],
                                 default_hooks=dict(compile=hook, checkpoint=None))
        runner.model.watchers.append(masked)
        runner.train()
        outputs += recorded.outputs
        assert len(set(masked.numbers)) > 2, 'masked positions'
    assert kept[0] == kept[1] and len(kept[0]) == 16
    assert counters['stats']['unique_graphs'] == 3, 'backbone, and the networks of two objectives'


def test_compile__an_unknown_part_is_named(tmp_path):
    with pytest.raises(ValueError, match="has no part 'bakbone' to compile; its parts are data_preprocessor, backbone"):
        compile_parts(build('vimpac', tmp_path), ['bakbone'])


def test_compile__keeps_kernels_in_the_folder_that_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCHINDUCTOR_CACHE_DIR', 'elsewhere')
    pretraining_run(tmp_path / 'run', max_epochs=1, batch_size=64, default_hooks=dict(
        checkpoint=None, compile=dict(type='ssvideo.CompileHook', parts='backbone.embedding_norm', backend='eager',
                                      cache_dir=str(tmp_path / 'cache')))).train()
    assert counters['stats']['unique_graphs'] == 1 and cache_dir() == str(tmp_path / 'cache')
