"""V-JEPA: predict a teacher's features of the hidden part of a clip."""
from .multi_block_masker import MultiBlockMasker
from .teacher_hook import TeacherHook
from .vjepa import VJEPA

__all__ = ['VJEPA', 'MultiBlockMasker', 'TeacherHook']
