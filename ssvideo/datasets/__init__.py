"""Data sets, samplers and transforms."""
from . import transforms  # noqa: F401  (registers them)
from .broken import BrokenFileError, BrokenLog
from .collate_clips import collate_clips
from .draw_sampler import DrawSampler, draw_seed, seeded
from .image_list import ImageList
from .reordered_tokens import ReorderedTokens
from .token_clips import TokenClips
from .video_list import VideoList

__all__ = ['BrokenFileError', 'BrokenLog', 'DrawSampler', 'ImageList', 'ReorderedTokens', 'TokenClips', 'VideoList',
           'collate_clips', 'draw_seed', 'seeded']
