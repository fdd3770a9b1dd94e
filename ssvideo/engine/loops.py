"""The training loop over named streams."""
from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.runner import EpochBasedTrainLoop

from ..datasets.draw_sampler import draw_seed
from ..registry import LOOPS
from .auto_accumulation import accumulative_counts
from .cached_summaries import compare_batches, num_batches_compared
from .hooks.bare_model import bare_model
from .side_copies import copied_aside
from .streams import ZippedLoader


@LOOPS.register_module()
class StreamTrainLoop(EpochBasedTrainLoop):
    """Trains on named streams of clips that are loaded together, and resumes as if never interrupted.

    The model is given ``{stream: batch}``. All that is random is a function of the run's seed: what is drawn, of the
    number of the draw; what the model draws, of the rank and the iteration. A run resumed at an iteration, in
    the middle of an epoch too, goes on as the uninterrupted one would have, without loading what went before, if the
    number of processes and the batch sizes are the same.

    Where an objective compares more videos than a batch holds (``num_pairs``), the batches that it compares are loaded
    ahead and encoded once more; see :func:`compare_batches`.

    Args:
        runner: the runner.
        dataloader: loader configs by the name of the stream, ``dict(video=dict(...), image=dict(...))``, of which the
            first sets the length of an epoch; or one loader config, for a stream named 'video'. The sampler of each is a
            ``DrawSampler``; lists of broken files go to the runner's work folder.
        max_epochs: epochs of the first stream.
        val_begin: first epoch after which to validate.
        val_interval: epochs from one validation to the next.
        dynamic_intervals: other intervals from given epochs on, as mmengine has them.
    """

    def __init__(self, runner, dataloader, max_epochs: int, val_begin: int = 1, val_interval: int = 1,
                 dynamic_intervals=None):
        if not isinstance(dataloader, ZippedLoader):
            dataloader = self._build_streams(runner, dataloader)
        super().__init__(runner, dataloader, max_epochs, val_begin, val_interval, dynamic_intervals)
        self._steps = None

    @staticmethod
    def _build_streams(runner, configs) -> ZippedLoader:
        if not isinstance(configs, Mapping) or 'dataset' in configs:
            configs = {'video': configs}
        pinned = dict(pin_memory=torch.cuda.is_available())  # from where pixels are copied beside a step
        loaders = {name: runner.build_dataloader(pinned | config, seed=runner.seed) for name, config in configs.items()}
        for loader in loaders.values():
            if hasattr(loader.dataset, 'log_broken_to'):
                loader.dataset.log_broken_to(runner.work_dir, resumed=runner._resume)
        return ZippedLoader(loaders, accumulative_counts(runner))

    def run(self) -> torch.nn.Module:
        """Train from the current iteration, which is not 0 in a resumed run, to the last epoch."""
        done = self._iter - self._epoch * len(self.dataloader)
        if not 0 <= done <= len(self.dataloader):
            raise ValueError(
                f'the checkpoint was written at iteration {self._iter} in epoch {self._epoch}, but an epoch now has '
                f'{len(self.dataloader)} iterations: resume with the same data, batch size and number of processes, or '
                'start anew from its weights with load_from')
        self._go_back_to_optimiser_step()
        self._steps = self._compared_steps()
        try:
            return super().run()
        finally:
            self._steps.close()

    def run_epoch(self) -> None:
        """Train to the end of the current epoch."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        for index in range(self._iter - self._epoch * len(self.dataloader), len(self.dataloader)):
            batch, comparing = next(self._steps)
            self._seed_model(self._iter)
            with comparing:
                self.run_iter(index, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _go_back_to_optimiser_step(self) -> None:
        if rest := self._iter % accumulative_counts(self.runner):
            self.runner.logger.warning(
                f'the checkpoint was written {rest} iteration(s) after an optimiser step, and gradients are not saved: '
                'these iterations are done again, and averages of weights count them twice. ssvideo.CheckpointHook writes '
                'at the end of an optimiser step')
            self._iter -= rest
            self.runner.optim_wrapper.initialize_count_status(self.runner.model, self._iter, self.max_iters)

    def _compared_steps(self) -> Iterator[tuple[dict, AbstractContextManager]]:
        """Yield each batch, and the context to train on it."""
        model = bare_model(self.runner)
        size = num_batches_compared(model, self.dataloader, accumulative_counts(self.runner))
        batches = copied_aside(self.dataloader.batches(self._iter), next(model.parameters()).device)
        try:
            while size == 1:
                yield next(batches), nullcontext()
            while True:
                ahead = [next(batches) for _ in range(size)]
                for batch, compared in zip(ahead, compare_batches(self.runner, ahead, self._seed_model)):
                    yield batch, model.comparing(compared)
        finally:
            batches.close()

    def _seed_model(self, iteration: int) -> None:
        seed = draw_seed(self.runner.seed, get_rank(), iteration, 'model')
        random.seed(seed)
        np.random.seed((seed & 0xFFFFFFFF, seed >> 32))
        torch.manual_seed(seed)


@LOOPS.register_module()
class ClipTrainLoop(StreamTrainLoop):
    """As ``StreamTrainLoop``, for a model that is given one batch without a stream's name, such as ``ClipClassifier``.

    Arguments are those of ``StreamTrainLoop``, with one loader config.
    """

    def _compared_steps(self) -> Iterator[tuple[dict, AbstractContextManager]]:
        return ((batch['video'], context) for batch, context in super()._compared_steps())
