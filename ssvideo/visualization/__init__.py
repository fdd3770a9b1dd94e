"""Pictures of masks, reconstructions and training curves; every function writes one PNG, whole or not at all."""
from .curves import draw_curves, read_scalars
from .masks import draw_masks
from .reconstructions import draw_reconstructions

__all__ = ['draw_curves', 'draw_masks', 'draw_reconstructions', 'read_scalars']
