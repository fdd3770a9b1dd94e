"""Labelled lists, read as a config's validation reads its own."""
from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmengine.config import Config
from torch.utils.data import Dataset

from ..datasets.entries import read_list
from ..datasets.token_manifest import view_folders
from ..datasets.token_store import TokenStore
from ..models.frozen_encoder import FrozenEncoder
from ..registry import DATASETS


@dataclass
class LabelledList:
    """A list to be encoded.

    Args:
        file: the list, or a folder of videos in sub-folders named after classes.
        config: of its data set.
        dataset: built.
        paths: of its videos, by which lists are compared.
        labels: ``(N,)`` int64.
    """
    file: str
    config: dict
    dataset: Dataset
    paths: list[str]
    labels: np.ndarray

    def describe(self) -> dict:
        """What the features of the list depend on beside the model: the videos in order, and how they are read."""
        stores = [view.manifest for view in getattr(self.dataset, 'views', [])]
        apart = {key: value for key, value in self.config.items() if key not in ('source', 'labels')}
        return dict(videos=hashlib.sha256('\n'.join(self.paths).encode()).hexdigest(), dataset=apart, stores=stores)


def read_labelled(cfg: Config, file: str, views: str, encoder: FrozenEncoder, fps: float | None = None) -> LabelledList:
    """Read a list as a fine-tuning config reads its own in validation or testing; nothing is random.

    The videos of a token store come from that of the config's stores (of testing, validation, training) that has most of
    the list. With a tokenizer in the encoder they come from files instead, as the clips that the store's would be.

    Args:
        cfg: with ``val_dataloader`` or ``test_dataloader``.
        file: lines ``path label``; or a folder of videos in sub-folders named after classes.
        views: ``'val'`` or ``'test'``, whose clips and crops are taken.
        encoder: of the features.
        fps: token frames per second, for a list of files and a config that names a token store.

    Raises:
        ValueError: if the config reads no such list, the list has no labels, or one video twice.
    """
    loader = cfg.get(f'{views}_dataloader')
    if not loader:
        raise ValueError(f'{cfg.filename} has no {views}_dataloader, which says how labelled videos are read: give the config '
                         'of a fine-tuning, whose backbone the checkpoint fits')
    config = loader['dataset'].to_dict()
    if config['type'].rsplit('.', 1)[-1] == 'TokenClips':
        config = _of_files(config, file, encoder, fps) if encoder.tokenizer else _of_store(config, cfg, file)
    elif 'pipeline' in config:
        config |= dict(source=file)
        config['labels'] = True
    else:
        raise ValueError(f'a {config["type"]} takes no list: expected a data set with a pipeline, or a TokenClips')
    dataset = DATASETS.build(config | dict(test_mode=True, on_broken='missing'))
    entries, root = dataset.entries, getattr(dataset, 'root', '')
    paths = [os.path.realpath(os.path.join(root, entries.path(i))) for i in range(len(entries))]
    if twice := _first_twice(paths):
        raise ValueError(f'{file} names {twice} twice: what is held out would not be unseen')
    return LabelledList(file, config, dataset, paths, np.array(entries.labels))


def refuse_overlap(train: LabelledList, tests: Sequence[LabelledList]) -> None:
    """Compare lists.

    Raises:
        ValueError: naming the first video that is in the training list and in another; or if a class is in another and not in
            the training list, or the class folders of two lists differ.
    """
    known, classes = set(train.paths), set(train.labels.tolist())
    for test in tests:
        if both := next((path for path in test.paths if path in known), None):
            raise ValueError(f'{both} is in {train.file} and in {test.file}: what was learned cannot be '
                             'tested (two files of one name in token stores: extract them under names that differ)')
        if unknown := sorted(set(test.labels.tolist()) - classes):
            raise ValueError(f'{test.file} has {len(unknown)} classes of which {train.file} has no video, as {unknown[:5]}: '
                             'label both lists alike')
        names = [getattr(one.dataset, 'metainfo', {}).get('classes') for one in (train, test)]
        if names[0] != names[1]:
            raise ValueError(f'{train.file} and {test.file} do not have the same classes: {names[0]} and {names[1]}')


def _of_store(config: dict, cfg: Config, file: str) -> dict:
    """With the store that has most videos of a list; of several such, the first."""
    others = [cfg.get(f'{part}_dataloader', {}).get('dataset', {}).get('store') for part in ('test', 'val', 'train')]
    stores = [store for store in (config.get('store'), *others) if store]
    entries = read_list(file, labels=True)
    most, found = None, 0
    for store in stores:
        here = _num_found(store, [entries.path(i) for i in range(len(entries))])
        if here > found:
            most, found = store, here
    if most is None:
        raise ValueError(f'no video of {file} is in a token store of the config ({stores}): a store knows videos by the names '
                         'that the extracted list had; or read the files with --tokenizer FILE --fps RATE')
    return config | dict(store=most, labels=file)


def _num_found(store: str | Sequence[str], names: Sequence[str]) -> int:
    first = Path(store if isinstance(store, str) else store[0])
    try:
        videos = TokenStore(view_folders(first)[0])
    except ValueError:  # not there, or not finished
        return 0
    return sum(name in videos for name in names)


def _of_files(config: Mapping, file: str, encoder: FrozenEncoder, fps: float | None) -> dict:
    """The clips that a ``TokenClips`` would give, as frames for the tokenizer."""
    if fps is None:
        raise ValueError('say with --fps how many token frames a second has, as a store would (VIMPAC: 2)')
    stride, (_, height, width) = encoder.tokenizer.stride, encoder.backbone.grid
    if height * stride[1] != width * stride[2]:
        raise ValueError(f'the model reads {height} x {width} tokens, expected a square')
    return dict(type='ssvideo.VideoList', source=file, labels=True, pipeline=[
        dict(type='ssvideo.SampleClips', clip_len=config['clip_len'] * stride[0], test_mode=True,
             fps=fps * stride[0] / config.get('frame_interval', 1), num_clips=config.get('num_clips', 1)),
        dict(type='ssvideo.DecodeClips'),
        dict(type='ssvideo.FixedView', size=height * stride[1]),
        dict(type='FormatShape', input_format='NCTHW'),
        dict(type='PackActionInputs')])


def _first_twice(paths: Sequence[str]) -> str | None:
    seen = set()
    return next((path for path in paths if path in seen or seen.add(path)), None)
