"""Hooks."""
from .pictures import PicturesHook
from .plain_checkpoint import PlainCheckpointHook
from .save_tokenizer import SaveTokenizerHook

__all__ = ['PicturesHook', 'PlainCheckpointHook', 'SaveTokenizerHook']
