"""Tokenizers: pixels to prediction targets; and their trainers."""
from .base import Tokenizer
from .dalle import DalleTokenizer
from .dalle_vae import DalleVAE
from .load import load_tokenizer
from .peco import PecoTokenizer
from .peco_vqvae import PecoVQVAE

__all__ = ['DalleTokenizer', 'DalleVAE', 'PecoTokenizer', 'PecoVQVAE', 'Tokenizer', 'load_tokenizer']
