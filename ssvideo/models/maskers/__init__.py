"""Which tokens are hidden."""
from .base import Masker
from .block import BlockMasker
from .frame_diff import FrameDiffMasker
from .random_3d import Random3DMasker
from .random_frame import RandomFrameMasker
from .tube import TubeMasker

__all__ = ['BlockMasker', 'FrameDiffMasker', 'Masker', 'Random3DMasker', 'RandomFrameMasker', 'TubeMasker']
