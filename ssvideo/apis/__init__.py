"""The library's face: what a script calls."""
from .load_pretrained import LoadReport, load_pretrained

__all__ = ['LoadReport', 'load_pretrained']
