"""When a run logs, which is when the host may ask the device."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.hooks import LoggerHook
from mmengine.runner import Runner
from torch import Tensor

DEFAULT_INTERVAL = 20
"""Iterations, where no ``LoggerHook`` says."""


def is_log_step(runner: Runner, batch_idx: int) -> bool:
    """Whether ``LoggerHook`` logs after this iteration: every so many of an epoch, and at its end.

    Args:
        runner: in training.
        batch_idx: number of the iteration in its epoch, from 0.
    """
    interval = next((hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)), DEFAULT_INTERVAL)
    return (batch_idx + 1) % interval == 0 or batch_idx + 1 == len(runner.train_dataloader)


def to_numbers(values: Sequence[Tensor | float]) -> list[float]:
    """Numbers of 0-d tensors (and of numbers), with one wait for each device."""
    by_device: dict[torch.device, list[int]] = {}
    for index, value in enumerate(values):
        if isinstance(value, Tensor):
            by_device.setdefault(value.device, []).append(index)
    numbers = list(values)
    for indices in by_device.values():
        for index, number in zip(indices, torch.stack([values[index] for index in indices]).tolist()):
            numbers[index] = number
    return numbers
