"""A backbone of depthwise convolutions in space and time."""
from .my_plugin import MyPlugin

__all__ = ['MyPlugin']
