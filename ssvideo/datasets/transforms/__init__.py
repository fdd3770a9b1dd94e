"""What is done to one entry of a data set, in mmaction2's result dict, so that its transforms follow on ours."""
from .decode import DecodeClips
from .image import LoadImage
from .sample import SampleClips, SampleWholeVideo

__all__ = ['DecodeClips', 'LoadImage', 'SampleClips', 'SampleWholeVideo']
