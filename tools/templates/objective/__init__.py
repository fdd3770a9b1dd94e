"""An objective that predicts hidden tokens with one linear layer, and doubts a little."""
from .my_plugin import MyPlugin

__all__ = ['MyPlugin']
