"""Decoders: from a backbone's maps to features on the token grid.

A decoder is any registered module with ``out_channels`` and ``forward(maps, grid)``, which takes ``Features.maps`` and
the token grid ``(t, h, w)`` wanted and returns ``(N, t, h, w, out_channels)``. It is built with the backbone's
``channels``.
"""
from .swin_decoder import SwinDecoder

__all__ = ['SwinDecoder']
