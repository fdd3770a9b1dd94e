"""Backbones: clips of pixels or tokens in, :class:`~ssvideo.structures.Features` out."""
from .base import Backbone
from .divided_transformer import DividedTransformer
from .video_swin import VideoSwin

__all__ = ['Backbone', 'DividedTransformer', 'VideoSwin']
