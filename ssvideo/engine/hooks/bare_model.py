"""The model of a runner."""
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn


def bare_model(runner: Runner) -> nn.Module:
    """The model itself, without what wraps it when several processes train it."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
