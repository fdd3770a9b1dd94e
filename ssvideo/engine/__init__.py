"""Loops, hooks and optimiser wrappers that mmengine's runner is given by config."""
from .hooks import (
                    BadNumbersError,
                    BadNumbersHook,
                    CheckpointHook,
                    CompileHook,
                    HealthHook,
                    KNNHook,
                    LateInfoHook,
                    LoggerHook,
                    NextStageHook,
                    PicturesHook,
                    SaveTokenizerHook,
)
from .layer_decay import LayerDecayConstructor
from .loops import ClipTrainLoop, StreamTrainLoop
from .optim_wrapper import AutocastOptimWrapper, GuardedOptimWrapper
from .zero_adamw import ZeroAdamW

__all__ = ['AutocastOptimWrapper', 'BadNumbersError', 'BadNumbersHook', 'CheckpointHook', 'ClipTrainLoop', 'CompileHook',
           'GuardedOptimWrapper', 'HealthHook', 'KNNHook', 'LateInfoHook', 'LayerDecayConstructor', 'LoggerHook', 'NextStageHook',
           'PicturesHook', 'SaveTokenizerHook', 'StreamTrainLoop', 'ZeroAdamW']
