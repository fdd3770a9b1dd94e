"""The library's face: what a script calls."""
from .exported_model import ExportedModel, open_exported
from .extract_features import VideoFeatures, extract_features
from .load_pretrained import LoadReport, load_pretrained
from .reconstruct import Reconstruction
from .reconstruct_video import reconstruct
from .tokenize import tokenize

__all__ = ['ExportedModel', 'LoadReport', 'Reconstruction', 'VideoFeatures', 'extract_features', 'load_pretrained',
           'open_exported', 'reconstruct', 'tokenize']
