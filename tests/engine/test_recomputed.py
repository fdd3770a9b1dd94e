"""Activations that are computed again in the backward pass, in all stages or in some."""
from __future__ import annotations

import pytest
import torch

from ssvideo.models.layers.recomputed import recomputed_parts
from tests.engine.step_models import METHODS, build, noise, total_loss


def step(model, method):
    """Loss and gradients of a step with dropout and drop path, and the bytes that its forward pass keeps."""
    kept = {}
    with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: kept.setdefault(tensor.untyped_storage().data_ptr(), tensor.untyped_storage()) and tensor,
            lambda tensor: tensor):
        loss = total_loss(model, noise(method, 0), seed=1)
    kept_bytes = sum(storage.nbytes() for storage in kept.values())
    loss.backward()
    return loss, {name: parameter.grad for name, parameter in model.named_parameters()}, kept_bytes


@pytest.mark.parametrize('method', METHODS)
def test_checkpoint_activations__by_stage_changes_nothing_but_memory(method, tmp_path):
    loss, gradients, whole = step(build(method, tmp_path), method)
    memory = {}
    for stages in ((), (0,), (1,), (0, 1), True):
        found, other, memory[stages] = step(build(method, tmp_path, checkpoint_activations=stages), method)
        assert torch.equal(found, loss)
        for name, gradient in gradients.items():
            assert gradient is None and other[name] is None or torch.equal(other[name], gradient), name
    assert memory[()] == pytest.approx(whole, rel=0.01) and memory[0, 1] == pytest.approx(memory[True], rel=0.01)
    assert whole > 1.02 * max(memory[0,], memory[1,]) and min(memory[0,], memory[1,]) > 1.02 * memory[True]


def test_checkpoint_activations__wrong_numbers():
    with pytest.raises(ValueError, match=r'stages are numbered 0 to 3, got checkpoint_activations=\[1, 4\]: leave out \[4\]'):
        recomputed_parts('VideoSwin: stages', [1, 4], 4)
