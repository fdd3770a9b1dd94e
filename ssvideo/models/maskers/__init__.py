"""Which tokens are hidden."""
from .base import Masker
from .block import BlockMasker
from .random_3d import Random3DMasker
from .tube import TubeMasker

__all__ = ['BlockMasker', 'Masker', 'Random3DMasker', 'TubeMasker']
