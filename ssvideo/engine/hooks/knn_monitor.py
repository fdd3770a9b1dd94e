"""How well the features of a running pre-training tell classes apart."""
from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ...datasets.draw_sampler import seeded
from ...evaluation.knn import knn_accuracy
from ...registry import HOOKS
from ...structures import Clips, Features
from .bare_model import bare_model

IN_ORDER = dict(type='DefaultSampler', shuffle=False)
POOLS = {
    'summary': lambda features: features.summary,
    'map': lambda features: features.maps[-1].flatten(1, 3).mean(1)}
"""What may stand for a clip, by the names that ``ClipClassifier`` has for them; ``(N, C)`` each."""


@HOOKS.register_module()
class KNNHook(Hook):
    """Classifies labelled videos by their nearest neighbours, with the features of the model that is being pre-trained.

    Before the first epoch, after every ``interval`` epochs and after the last, the two lists are encoded with nothing
    hidden, in eval mode and the run's precision. Of each pool ``knn/<pool>_top1`` and ``_top5`` are logged, as any
    scalar is. The processes of a distributed run share the lists out. Training goes on as if nothing had been: a run
    with this hook has the same losses as one without.

    Args:
        train_dataloader: of the labelled videos that vote, as mmengine's ``val_dataloader``: ``dataset`` (a
            ``TokenClips`` or a ``VideoList``, labelled, best with ``test_mode=True``), ``batch_size``, ``num_workers``.
            Every video is read once, in order: neither ``sampler`` nor ``drop_last`` is needed. Of several clips of a
            video the mean counts.
        val_dataloader: of the labelled videos that are classified.
        interval: epochs between two evaluations.
        pools: what stands for a clip: ``'summary'`` ([CLS] with VIMPAC, which its contrast acts on), ``'map'`` (the
            mean of the last map), or both.
        k: neighbours that vote.
        temperature: of their weights; see :func:`~ssvideo.evaluation.knn.knn_votes`.

    Raises:
        ValueError: if an argument is out of range; when the lists are first read, if a video has no label, or the
            classified videos have a class that the voting ones lack.
    """
    priority = 'NORMAL'  # before the checkpoint is written, which then has the figures

    def __init__(self, train_dataloader: dict, val_dataloader: dict, interval: int = 1,
                 pools: Sequence[str] = ('summary', 'map'), k: int = 20, temperature: float = 0.07) -> None:
        if interval < 1:
            raise ValueError(f'KNNHook: interval is a number of epochs, at least 1, got {interval}')
        if k < 1 or temperature <= 0:
            raise ValueError(f'KNNHook: k must be at least 1 and temperature positive, got {k} and {temperature}')
        if isinstance(pools, str) or not pools or not set(pools) <= set(POOLS):
            raise ValueError(f'KNNHook: pools must be one or several of {sorted(POOLS)}, as in pools=("summary",), '
                             f'got {pools!r}')
        self.configs = dict(train_dataloader=_in_order(train_dataloader, 'train_dataloader'),
                            val_dataloader=_in_order(val_dataloader, 'val_dataloader'))
        self.interval, self.pools, self.k, self.temperature = interval, tuple(pools), k, temperature
        self._loaders: dict[str, DataLoader] = {}

    def before_train(self, runner: Runner) -> None:
        """Build the loaders; evaluate what the run starts from, unless it resumes."""
        with _undisturbed(bare_model(runner)):
            self._loaders = {name: runner.build_dataloader(config, seed=runner.seed)
                             for name, config in self.configs.items()}
        if runner.iter == 0:
            self.evaluate(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Evaluate, if it is time."""
        if self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner):
            self.evaluate(runner)

    def evaluate(self, runner: Runner) -> dict[str, float]:
        """Encode both lists, classify, and log.

        Returns:
            What was logged; the same on every process.
        """
        start = time.perf_counter()
        with _undisturbed(bare_model(runner)), torch.inference_mode():
            (bank, bank_labels), (queries, labels) = (self._encode(runner, loader) for loader in self._loaders.values())
            scalars = {f'knn/{pool}_{name}': accuracy for pool in self.pools for name, accuracy in knn_accuracy(
                bank[pool], bank_labels, queries[pool], labels, self.k, self.temperature).items()}
        runner.message_hub.update_scalars(scalars)
        runner.visualizer.add_scalars(scalars, step=runner.iter)
        said = ', '.join(f'{name} {100 * accuracy:.1f}' for name, accuracy in scalars.items())
        runner.logger.info(
            f'after {runner.iter} steps: {said} %; {len(labels)} videos of {len(labels.unique())} classes, by '
            f'{len(bank_labels)} of {len(bank_labels.unique())} classes ({time.perf_counter() - start:.1f} s)')
        return scalars

    def _encode(self, runner: Runner, loader: DataLoader) -> tuple[dict[str, Tensor], Tensor]:
        """Features by pool, ``(videos, C)`` each, and labels ``(videos,)`` of a whole list, alike on every process."""
        model = bare_model(runner)
        features: dict[str, list[Tensor]] = {pool: [] for pool in self.pools}
        labels = []
        for batch in loader:
            labels += _labels(batch, loader.dataset)
            clips = model.data_preprocessor(batch)['inputs']
            with runner.optim_wrapper.optim_context(model):
                found = _features(model, clips)
            for pool, parts in features.items():
                unit = F.normalize(POOLS[pool](found).float(), dim=1)
                parts.append(unit.unflatten(0, (clips.num_views, -1)).mean(0))  # view-major: (B, C)
        size = len(loader.dataset)
        whole = {pool: _join(torch.cat(parts), size) for pool, parts in features.items()}
        return whole, _join(torch.tensor(labels, device=whole[self.pools[0]].device), size)


def _in_order(config: dict, name: str) -> dict:
    """The loader's config, reading each video once."""
    config = dict(config)
    if dict(config.get('sampler', IN_ORDER)) != IN_ORDER or config.get('drop_last', False):
        raise ValueError(f'KNNHook reads each video once, in order: leave sampler and drop_last out of {name}, got '
                         f'sampler={config.get("sampler")}, drop_last={config.get("drop_last")}')
    return config | dict(sampler=IN_ORDER)


@contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """Put the model into eval mode; afterwards put back its mode, and the state of every random generator."""
    was_training = model.training
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with seeded('knn'), torch.random.fork_rng(devices):
        model.eval()
        try:
            yield
        finally:
            model.train(was_training)


def _features(model: nn.Module, clips: Clips) -> Features:
    """What the model makes of clips with nothing hidden, whichever of its streams they would come in."""
    return model(dict(video=clips), mode='tensor')['video']


def _labels(batch: dict, dataset) -> list[int]:
    samples = batch.get('data_samples') or []
    unlabelled = [sample for sample in samples if 'gt_label' not in sample]
    if not samples or unlabelled:
        raise ValueError(f'KNNHook needs a label for every video, and {type(dataset).__name__} gives none'
                         + (f' for {unlabelled[0].metainfo}' if unlabelled else '') +
                         ': read a list of lines "path label", or a token store that was extracted from one')
    return [int(sample.gt_label) for sample in samples]


def _join(part: Tensor, size: int) -> Tensor:
    """The rows of all processes in the order of the list: process r of R has the rows r, r + R, ... of it."""
    parts = torch.stack(all_gather(part.contiguous()), dim=1)  # (rows of a process, R, ...)
    return parts.flatten(0, 1)[:size]  # DefaultSampler fills the last round up from the start of the list
