"""What a loader of a config gives in one iteration, loaded without a runner."""
from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from ..datasets.video_list import MediaList
from ..registry import LOOPS
from .loops import StreamTrainLoop

LOADERS = ('train', 'val', 'test')


@dataclass
class LoadedBatch:
    """The samples of one process in one iteration.

    Args:
        batch: as a loader's workers collate it.
        notes: of each sample ``index`` and ``draw``; ``path``, that of another file where the drawn one cannot be read;
            where they are known ``label`` and ``frames``, the numbers of the frames of all its clips.
    """
    batch: dict
    notes: list[dict]


def build_loaders(cfg: Config, which: str, seed: int) -> dict[str, DataLoader]:
    """The loaders of a config by stream, as the runner builds them; no worker starts.

    Args:
        cfg: a config whose default scope is set.
        which: one of ``LOADERS``.
        seed: of the run.

    Raises:
        ValueError: if the config has no such loader.
    """
    configs = cfg.get(f'{which}_dataloader')
    if not configs:
        raise ValueError(f'the config has no {which}_dataloader')
    streams = {which: configs} if 'dataset' in configs else configs
    return {stream: Runner.build_dataloader(config, seed=seed) for stream, config in streams.items()}


def drawn_keys(cfg: Config, which: str, loader: DataLoader, iteration: int) -> list[tuple[int, int]]:
    """``(index, draw)`` of the samples that a loader gives in an iteration of its loop, counted from 0."""
    if which == 'train' and issubclass(_loop_of(cfg), StreamTrainLoop):
        loader.sampler.start_at(iteration * loader.batch_size)
        keys = next(iter(loader.batch_sampler))
    else:
        epoch, number = divmod(iteration, len(loader))
        if hasattr(loader.sampler, 'set_epoch'):
            loader.sampler.set_epoch(epoch)
        keys = next(islice(loader.batch_sampler, number, None))
    return [key if isinstance(key, tuple) else (key, key) for key in keys]


def load_batch(loader: DataLoader, keys: list[tuple[int, int]]) -> LoadedBatch:
    """Load samples in this process; what is random is a function of the draw, so that they are those of the workers.

    Raises:
        BrokenFileError: as the data set.
    """
    dataset, seen, items, notes = loader.dataset, [], [], []
    if isinstance(dataset, MediaList):  # the last transform packs, and forgets where the frames come from
        dataset.transforms.insert(-1, lambda results: seen.append(results) or results)
    try:
        for key in keys:
            items.append(dataset[key])
            notes.append(dict(index=key[0], draw=key[1]) | _note(items[-1], seen))
    finally:
        if isinstance(dataset, MediaList):
            del dataset.transforms[-2]
    return LoadedBatch(pseudo_collate(items), notes)


def _note(item: dict, seen: list[dict]) -> dict:
    sample, note = item.get('data_samples'), {}
    if seen:  # the last attempt is what was given
        note = dict(path=seen[-1]['filename'])
        if 'frame_inds' in seen[-1]:
            note['frames'] = [int(number) for number in seen[-1]['frame_inds']]
        seen.clear()
    elif sample is not None and ('name' in sample or 'filename' in sample):  # of a store; that cannot be read
        note = dict(path=sample.get('name') or sample.get('filename'))
    if sample is not None and 'gt_label' in sample:
        note['label'] = int(sample.gt_label)
    return note


def _loop_of(cfg: Config) -> type:
    return LOOPS.get(cfg.train_cfg.get('type') or 'EpochBasedTrainLoop')
