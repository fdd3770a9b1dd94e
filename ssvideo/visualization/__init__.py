"""Pictures of masks, reconstructions and training curves; every function writes one file, whole or not at all."""
from .curves import draw_curves, read_scalars
from .frames import to_frames
from .masks import draw_masks, shade
from .panels import animate_panels, animate_rows, draw_panels
from .reconstructions import draw_reconstructions

__all__ = ['animate_panels', 'animate_rows', 'draw_curves', 'draw_masks', 'draw_panels', 'draw_reconstructions',
           'read_scalars', 'shade', 'to_frames']
