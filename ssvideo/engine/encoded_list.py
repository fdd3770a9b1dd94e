"""The features of a list of videos, and their labels where they have some."""
from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from tqdm import tqdm

from ..datasets.given_videos import GivenClips
from ..datasets.video_list import VideoList
from .given_model import GivenModel
from .hooks.knn_monitor import POOLS


@dataclass
class EncodedList:
    """What a model makes of the videos of a list that can be read.

    Args:
        paths: M of them.
        features: ``(M, C)`` float32, on the host.
        labels: ``(M,)`` int64; ``None`` where the list has none.
        class_names: of the labels in order; may be empty.
        broken: path to reason, of the videos that cannot be read.
    """
    paths: list[str]
    features: Tensor
    labels: Tensor | None
    class_names: Sequence[str] = ()
    broken: dict[str, str] = field(default_factory=dict)


def list_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the words that say how a list is read and encoded."""
    parser.add_argument('--data-root', default='', help='precedes the relative paths of a list')
    parser.add_argument('--class-names', help='text file with one name a line; default: those of a folder of classes')
    parser.add_argument('--pool', choices=sorted(POOLS), default='summary',
                        help='what stands for a video: the summary ([CLS], or the mean of the normalised last map), or the mean '
                             'of the last map')


def encode_list(given: GivenModel, source: str, args: argparse.Namespace) -> EncodedList:
    """Encode one clip of each video, with a progress bar.

    Args:
        given: the model.
        source: list of lines ``path`` or ``path label``, or folder, in which sub-folders are classes.
        args: see :func:`list_arguments`.

    Raises:
        ValueError: if the source is none, or none of its videos can be read.
    """
    videos = VideoList(source, [], data_root=args.data_root, class_names=args.class_names, test_mode=True)
    described = [videos.describe(index) for index in range(len(videos))]
    clips = GivenClips([one['filename'] for one in described], given.read)
    found, features = [], []
    for number, _, frames in tqdm(clips, total=len(described), desc=f'encoding {source}', unit='video'):
        found.append(described[number])
        features.append(POOLS[args.pool](given.features(frames))[0].float().cpu())
    if not found:
        raise ValueError(clips.why_none(f'{source} has no video'))
    labels = torch.tensor([one['label'] for one in found]) if 'label' in found[0] else None
    return EncodedList([one['filename'] for one in found], torch.stack(features), labels, videos.metainfo.get('classes', ()),
                       clips.broken)
