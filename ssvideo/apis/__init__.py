"""The library's face: what a script calls."""
from .extract_features import VideoFeatures, extract_features
from .load_pretrained import LoadReport, load_pretrained
from .reconstruct import Reconstruction
from .reconstruct_video import reconstruct
from .tokenize import tokenize

__all__ = ['LoadReport', 'Reconstruction', 'VideoFeatures', 'extract_features', 'load_pretrained', 'reconstruct', 'tokenize']
