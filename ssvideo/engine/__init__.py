"""Loops, hooks and optimiser wrappers that mmengine's runner is given by config."""
from .hooks import KNNHook, NextStageHook, PicturesHook, PlainCheckpointHook, SaveTokenizerHook
from .layer_decay import LayerDecayConstructor
from .loops import StreamTrainLoop
from .optim_wrapper import AutocastOptimWrapper

__all__ = ['AutocastOptimWrapper', 'KNNHook', 'LayerDecayConstructor', 'NextStageHook', 'PicturesHook', 'PlainCheckpointHook',
           'SaveTokenizerHook', 'StreamTrainLoop']
