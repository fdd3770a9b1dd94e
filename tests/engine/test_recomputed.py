"""Activations that are computed again in the backward pass, in all stages or in some."""
from __future__ import annotations

import pytest
import torch

from ssvideo.evaluation.live_memory import LiveMemory
from ssvideo.models.layers.recomputed import recomputed_parts
from tests.engine.step_models import METHODS, build, noise, total_loss


def step(model, method):
    """Loss and gradients of a step with dropout and drop path, and the most bytes of tensors that live at once."""
    with LiveMemory(lambda tensor: 'all') as memory:
        loss = total_loss(model, noise(method, 0), seed=1)
        loss.backward()
    return loss, {name: parameter.grad for name, parameter in model.named_parameters()}, memory.peak


@pytest.mark.parametrize('method', METHODS)
def test_checkpoint_activations__by_stage_changes_nothing_but_memory(method, tmp_path):
    loss, gradients, whole = step(build(method, tmp_path), method)
    memory = {}
    for stages in ((), (0,), (1,), (0, 1), True):
        found, other, memory[stages] = step(build(method, tmp_path, checkpoint_activations=stages), method)
        assert torch.equal(found, loss)
        for name, gradient in gradients.items():
            assert gradient is None and other[name] is None or torch.equal(other[name], gradient), name
    for some in (True, (0,)):
        found, other, memory['products', some] = step(build(method, tmp_path, checkpoint_activations=True, keep_products=some),
                                                       method)
        assert torch.equal(found, loss)
        assert all(given is None or torch.equal(other[name], given) for name, given in gradients.items())
    assert max(memory[()], whole) > max(memory[0,], memory[1,])
    assert memory[0, 1] == memory[True] <= min(memory[0,], memory[1,])
    assert memory[True] < memory['products', (0,)] < memory['products', True] < whole


def test_checkpoint_activations__wrong_numbers():
    with pytest.raises(ValueError, match=r'stages are numbered 0 to 3, got checkpoint_activations=\[1, 4\]: leave out \[4\]'):
        recomputed_parts('VideoSwin: stages', 4, [1, 4])
    with pytest.raises(ValueError, match=r'keep_products=\[2, 3\], but \[3\] are not recomputed'):
        recomputed_parts('VideoSwin: stages', 4, [1, 2], [2, 3])
    assert recomputed_parts('', 4, True, [3]) == ({0, 1, 2, 3}, {3}) and recomputed_parts('', 4, [1], True) == ({1}, {1})
