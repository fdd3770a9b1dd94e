"""MaskFeat: histograms of oriented gradients as targets, for Video Swin and for a ViT with mask tokens."""
from .hog_regression import HogRegression
from .hog_targets import HogTargets
from .last_map import LastMap
from .mask_token_vit import MaskTokenViT

__all__ = ['HogRegression', 'HogTargets', 'LastMap', 'MaskTokenViT']
