"""Hooks."""
from .knn_monitor import KNNHook
from .next_stage import NextStageHook
from .pictures import PicturesHook
from .plain_checkpoint import PlainCheckpointHook
from .save_tokenizer import SaveTokenizerHook

__all__ = ['KNNHook', 'NextStageHook', 'PicturesHook', 'PlainCheckpointHook', 'SaveTokenizerHook']
