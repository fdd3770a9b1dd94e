"""A tokenizer of mean colours."""
from .my_plugin import MyPlugin

__all__ = ['MyPlugin']
