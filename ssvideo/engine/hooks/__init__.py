"""Hooks."""
from .bad_numbers import BadNumbersError, BadNumbersHook
from .broken_files import BrokenFilesHook
from .checkpoint import CheckpointHook
from .compile import CompileHook
from .health import HealthHook
from .knn_monitor import KNNHook
from .late_info import LateInfoHook
from .logger import LoggerHook
from .next_stage import NextStageHook
from .pictures import PicturesHook
from .save_tokenizer import SaveTokenizerHook
from .stop import StopHook
from .strict_load import StrictLoadHook

__all__ = ['BadNumbersError', 'BadNumbersHook', 'BrokenFilesHook', 'CheckpointHook', 'CompileHook', 'HealthHook', 'KNNHook',
           'LateInfoHook', 'LoggerHook', 'NextStageHook', 'PicturesHook', 'SaveTokenizerHook', 'StopHook', 'StrictLoadHook']
