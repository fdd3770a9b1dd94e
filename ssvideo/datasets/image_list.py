"""Images from a list or a folder."""
from __future__ import annotations

from ..registry import DATASETS
from .video_list import MediaList


@DATASETS.register_module()
class ImageList(MediaList):
    """Images from an annotation list or a folder; an image is a clip of one frame (``LoadImage``).

    Arguments are those of ``VideoList``, except that ``stream`` is 'image' where not given; broken files go to
    ``broken_images.jsonl``. Images as frames of videos are a ``VideoList`` with ``SampleClips(clip_len=1)``.
    """

    suffixes = frozenset(('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.gif', '.ppm', '.pgm'))
    broken_log_name = 'broken_images.jsonl'
    default_stream = 'image'
