"""Finite scalar quantisation: a codebook that is a grid, with nothing to learn and nothing to die."""
from .fsq import FsqTokenizer
from .fsq_vae import FsqVAE

__all__ = ['FsqTokenizer', 'FsqVAE']
