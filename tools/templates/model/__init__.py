"""A model beside ``Pretrainer``: a student that learns what its own average sees."""
from .my_plugin import MyPlugin

__all__ = ['MyPlugin']
