"""What is done to one entry of a data set, in mmaction2's result dict, so that its transforms follow on ours."""
from .clip_augment import RandomClipAugment
from .clip_erasing import RandomClipErasing
from .decode import DecodeClips
from .fixed_view import FixedView
from .image import LoadImage
from .reorder_frames import ReorderFrames
from .rescaled_crop import RandomRescaledCrop
from .sample import SampleClips, SampleWholeVideo
from .stored_tokens import StoredTokens
from .tokenizer_view import TokenizerView

__all__ = ['DecodeClips', 'FixedView', 'LoadImage', 'RandomClipAugment', 'RandomClipErasing', 'RandomRescaledCrop',
           'ReorderFrames', 'SampleClips', 'SampleWholeVideo', 'StoredTokens', 'TokenizerView']
