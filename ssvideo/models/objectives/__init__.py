"""Objectives: features in, a loss and its metrics out."""
from .base import Objective
from .info_nce import InfoNCE
from .mlm import MLM
from .mvm import MVM

__all__ = ['InfoNCE', 'MLM', 'MVM', 'Objective']
