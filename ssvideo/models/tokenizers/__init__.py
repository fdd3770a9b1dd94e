"""Tokenizers: pixels to prediction targets; and their trainers."""
from .base import Tokenizer
from .dalle import DalleTokenizer
from .dalle_vae import DalleVAE

__all__ = ['DalleTokenizer', 'DalleVAE', 'Tokenizer']
