"""Pictures of clips, masks, tokens, attention, features and training curves; each file is written whole or not at all."""
from .attention import AttentionMap, attention_modules, watch_attention
from .cells import colour_ids, heat, pca_colours
from .curves import draw_curves, draw_overview, read_scalars
from .frames import spread_cells, to_frames
from .masks import draw_masks, shade
from .movies import suffix_of, write_animation
from .panels import animate_panels, animate_rows, draw_panels, save_panels, save_strips
from .reconstructions import draw_reconstructions
from .scatter import draw_scatter

__all__ = ['AttentionMap', 'animate_panels', 'animate_rows', 'attention_modules', 'colour_ids', 'draw_curves',
           'draw_masks', 'draw_overview', 'draw_panels', 'draw_reconstructions', 'draw_scatter', 'heat', 'pca_colours',
           'read_scalars', 'save_panels', 'save_strips', 'shade', 'spread_cells', 'suffix_of', 'to_frames',
           'watch_attention', 'write_animation']
