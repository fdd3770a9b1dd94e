"""Both methods' training steps as they are published, part by part: what the package is measured and checked against.

A plain part is built from the config of ours and has its parameters, names and initial weights; its ``forward`` is written from
the papers, without what makes ours fast. Parts are not registered: :func:`plain_config` puts the classes into a config.
"""
from .config import plain_config

__all__ = ['plain_config']
