"""Readers of videos: frame times from one opening, and the frames asked for, as a sequential decode gives them."""
from .decord import decord_frames, why_not_decord
from .pyav import VideoReader

__all__ = ['VideoReader', 'decord_frames', 'why_not_decord']
