"""Single pictures from files of any kind: images, and frames of videos."""
from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from .broken import BrokenFileError
from .entries import read_folder, read_list
from .image_list import ImageList
from .transforms import DecodeClips, LoadImage, SampleClips
from .video_list import VideoList


class StillFrames:
    """Square pictures from a folder or a list of images and videos, in a fixed random order.

    A picture is shrunk until its short side has ``size`` pixels, never enlarged, and cut to its central square, whose
    side is a multiple of ``multiple``.

    Args:
        source: a folder, searched recursively, or a list with one ``path`` or ``path label`` a line.
        num: pictures wanted. Where there are fewer files, videos give several frames each, evenly spaced.
        size: largest side.
        multiple: of which the sides are multiples, such as a tokenizer's stride.

    Attributes:
        broken: path to reason, of the files that could not be read so far.

    Raises:
        ValueError: if the source holds no file, or a number does not fit.
    """

    def __init__(self, source: str | Path, num: int, size: int, multiple: int = 1) -> None:
        if num < 1 or size < multiple:
            raise ValueError(f'num must be at least 1 and size at least {multiple}, got num={num} and size={size}')
        self.paths = _paths(Path(source))
        random.Random(0).shuffle(self.paths)
        self.num, self.size, self.multiple = num, size, multiple
        self.frames_per_video = math.ceil(num / len(self.paths))
        self.broken: dict[str, str] = {}

    def __iter__(self) -> Iterator[np.ndarray]:
        """``(side, side, 3)`` uint8 RGB, ``num`` of them or as many as the files give."""
        left = self.num
        for path in self.paths:
            try:
                pictures = [self._square(path, picture) for picture in self._read(path)]
            except BrokenFileError as error:
                self.broken[path] = error.reason or str(error)
                continue
            yield from pictures[:left]
            left -= len(pictures)
            if left <= 0:
                return

    def _read(self, path: str) -> list[np.ndarray]:
        if Path(path).suffix.lower() in ImageList.suffixes:
            return LoadImage()(dict(filename=path))['imgs']
        sample = SampleClips(clip_len=1, frame_interval=1, num_clips=self.frames_per_video, test_mode=True)
        return DecodeClips()(sample(dict(filename=path)))['imgs']

    def _square(self, path: str, picture: np.ndarray) -> np.ndarray:
        height, width = picture.shape[:2]
        scale = min(1.0, self.size / min(height, width))
        if scale < 1:
            height, width = max(round(height * scale), self.size), max(round(width * scale), self.size)
            picture = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))
        side = min(height, width, self.size) // self.multiple * self.multiple
        if not side:
            raise BrokenFileError(path, f'its {width} x {height} pixels are less than one square of {self.multiple}')
        top, left = (height - side) // 2, (width - side) // 2
        return picture[top:top + side, left:left + side]


def _paths(source: Path) -> list[str]:
    if source.is_dir():
        entries, _ = read_folder(source, ImageList.suffixes | VideoList.suffixes, labels=False)
        paths = [str(source / entries.path(i)) for i in range(len(entries))]
    elif source.is_file():
        entries = read_list(source)
        paths = [entries.path(i) for i in range(len(entries))]
    else:
        raise ValueError(f'{source} is neither a file nor a folder')
    if not paths:
        raise ValueError(f'{source} holds no image and no video')
    return paths
