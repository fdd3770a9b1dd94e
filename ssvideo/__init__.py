"""ssvideo: pluggable self-supervised video pre-training on mmengine and mmaction2.

``custom_imports = dict(imports=['ssvideo'])`` in a config is all that mmengine's and mmaction2's tools need. Importing
the package is light: the registries load their components when a config first names one.
"""
from . import registry  # noqa: F401  (all child registries exist from here on)
from .utils.mmaction_wheel import mend_mmaction_wheel
from .version import __version__

mend_mmaction_wheel()

__all__ = ['__version__']
