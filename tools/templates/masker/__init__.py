"""A masker that hides cells through the whole clip."""
from .my_plugin import MyPlugin

__all__ = ['MyPlugin']
