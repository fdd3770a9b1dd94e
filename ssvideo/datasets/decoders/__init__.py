"""Readers of videos: frame times from one opening, and the frames asked for, as a sequential decode gives them."""
from .choice import DECODERS, check_decoder, read_frames
from .decord import decord_frames, why_not_decord
from .pyav import VideoReader
from .torchcodec import torchcodec_frames, why_not_torchcodec

__all__ = ['DECODERS', 'VideoReader', 'check_decoder', 'decord_frames', 'read_frames', 'torchcodec_frames',
           'why_not_decord', 'why_not_torchcodec']
