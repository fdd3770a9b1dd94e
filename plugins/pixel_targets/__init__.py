"""Pixels as targets: a tokenizer without a vocabulary, and the regression that learns from it."""
from .cut_patches import cut_patches
from .pixel_regression import PixelRegression
from .pixel_targets import PixelTargets

__all__ = ['PixelRegression', 'PixelTargets', 'cut_patches']
