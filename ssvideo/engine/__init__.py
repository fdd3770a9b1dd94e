"""Loops, hooks and optimiser wrappers that mmengine's runner is given by config."""
from .hooks import PlainCheckpointHook, SaveTokenizerHook
from .loops import StreamTrainLoop
from .optim_wrapper import AutocastOptimWrapper

__all__ = ['AutocastOptimWrapper', 'PlainCheckpointHook', 'SaveTokenizerHook', 'StreamTrainLoop']
