"""VideoMAE: reconstruct the pixels of tubes from the tenth of the patches that is visible."""
from .mask_token_decoder import MaskTokenDecoder
from .patch_regression import PatchRegression
from .random_tube_masker import RandomTubeMasker
from .sine_positions import sine_positions
from .video_vit import VideoViT

__all__ = ['MaskTokenDecoder', 'PatchRegression', 'RandomTubeMasker', 'VideoViT', 'sine_positions']
