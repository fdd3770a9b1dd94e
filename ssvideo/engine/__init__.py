"""Loops, hooks and optimiser wrappers that mmengine's runner is given by config."""
from .hooks import PicturesHook, PlainCheckpointHook, SaveTokenizerHook
from .loops import StreamTrainLoop
from .optim_wrapper import AutocastOptimWrapper

__all__ = ['AutocastOptimWrapper', 'PicturesHook', 'PlainCheckpointHook', 'SaveTokenizerHook', 'StreamTrainLoop']
