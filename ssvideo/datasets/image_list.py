"""Images from a list or a folder."""
from __future__ import annotations

from ..registry import DATASETS
from .video_list import MediaList


@DATASETS.register_module()
class ImageList(MediaList):
    """Images from an annotation list or a folder; an image is a clip of one frame (``LoadImage``).

    Arguments are those of ``VideoList``, except that ``stream`` is 'image'; broken files go to ``broken_images.jsonl``.
    Images as frames of videos are a ``VideoList`` with ``SampleClips(clip_len=1)``.
    """

    suffixes = frozenset(('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.gif', '.ppm', '.pgm'))
    broken_log_name = 'broken_images.jsonl'

    def __init__(self, source, pipeline, *, labels=None, delimiter=' ', data_root='', stream='image', seed=None,
                 test_mode=False, class_names=None, num_classes=None, max_attempts=10, max_broken_share=0.5,
                 broken_log=None):
        super().__init__(source, pipeline, labels=labels, delimiter=delimiter, data_root=data_root, stream=stream,
                         seed=seed, test_mode=test_mode, class_names=class_names, num_classes=num_classes,
                         max_attempts=max_attempts, max_broken_share=max_broken_share, broken_log=broken_log)
