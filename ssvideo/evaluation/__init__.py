"""Metrics and reports."""
from .video_accuracy import VideoAccuracy

__all__ = ['VideoAccuracy']
