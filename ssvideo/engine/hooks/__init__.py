"""Hooks."""
from .plain_checkpoint import PlainCheckpointHook
from .save_tokenizer import SaveTokenizerHook

__all__ = ['PlainCheckpointHook', 'SaveTokenizerHook']
