"""The health of a running training."""
from __future__ import annotations

from collections.abc import Mapping

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...evaluation.health import LastRows, SeenIds, effective_rank, feature_std
from ...models.objectives.masked_prediction import gather_positions
from ...models.pretrainer import Pretrainer
from ...registry import HOOKS
from ...structures import Features, MaskedTokens
from ..log_steps import is_log_step
from ..streams import ZippedLoader
from .bare_model import bare_model


@HOOKS.register_module()
class HealthHook(Hook):
    """Logs what shows a collapse or a bottleneck early, at ``LoggerHook``'s intervals.

    Of every training: ``samples_per_s``, videos and images of all streams and processes (validation and checkpoints not
    counted), and ``skipped_files``, how many have been found broken.

    Of a ``Pretrainer``, for each stream:

    - ``<stream>_codebook_use``: share of the target's ids that were masked somewhere since the last log, on any process;
      for a target that is not the default ``<stream>_<target>_codebook_use``.
    - ``<stream>_feature_std`` and ``<stream>_effective_rank`` of the summaries that the objectives were given (masked
      clips, in training mode), of the last ``num_clips`` clips of this process: 0 means collapse. See
      :func:`~ssvideo.evaluation.health.feature_std` and :func:`~ssvideo.evaluation.health.effective_rank`, which is at
      most the number of clips.

    The figures are gathered on the device, and read when they are logged; what a step draws is not touched.

    Args:
        num_clips: clips that deviation and rank look at.

    Raises:
        ValueError: if ``num_clips`` is not at least 2.
    """

    def __init__(self, num_clips: int = 512) -> None:
        if num_clips < 2:
            raise ValueError(f'HealthHook: deviation and rank need num_clips of at least 2, got {num_clips}')
        self.num_clips = num_clips
        self._model: Pretrainer | None = None
        self._features: dict[str, LastRows] = {}
        self._ids: dict[str, SeenIds] = {}
        self._num_samples = self._num_steps = 0

    def before_train(self, runner: Runner) -> None:
        """Begin to watch the model."""
        model = bare_model(runner)
        if isinstance(model, Pretrainer):
            self._model = model
            model.watchers.append(self.watch)

    def after_train(self, runner: Runner) -> None:
        """Watch no more."""
        if self._model is not None:
            self._model.watchers.remove(self.watch)

    def watch(self, stream: str, features: Mapping[str, Features], targets: Mapping[str, MaskedTokens]) -> None:
        """Note what a step encoded and what it had to predict; see ``Pretrainer.watchers``."""
        summary = next(iter(features.values())).summary  # of masked clips, where any objective is given them
        self._features.setdefault(stream, LastRows(self.num_clips)).add(summary)
        for name, masked in targets.items():
            vocab_size = self._model.vocab_size_of(name)
            if vocab_size is None or masked.tokens is None:
                continue
            key = stream if name == self._model.default_target else f'{stream}_{name}'
            if key not in self._ids:
                self._ids[key] = SeenIds(vocab_size, masked.tokens.device)
            self._ids[key].add(gather_positions(masked.tokens, masked.positions))

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Count the samples; log if it is time."""
        self._num_samples += _num_samples(data_batch)
        self._num_steps += 1
        if is_log_step(runner, batch_idx):
            for name, value in self._figures(runner).items():
                runner.message_hub.update_scalar(f'train/{name}', value)
            self._num_samples = self._num_steps = 0

    def _figures(self, runner: Runner) -> dict[str, float]:
        figures = {f'{key}_codebook_use': ids.take_share() for key, ids in self._ids.items()}
        for stream, last in self._features.items():
            rows = last.rows()
            figures |= {f'{stream}_feature_std': feature_std(rows), f'{stream}_effective_rank': effective_rank(rows)}
        times = runner.message_hub.log_scalars.get('train/time')  # of IterTimerHook
        if times is not None:
            seconds = times.data[0][-self._num_steps:].sum()
            figures['samples_per_s'] = self._num_samples * get_world_size() / max(float(seconds), 1e-9)
        return figures | _skipped_files(runner)


def _num_samples(batch) -> int:
    """Samples of a batch, or of the batches of all streams."""
    if not isinstance(batch, Mapping):
        return len(batch) if isinstance(batch, (list, tuple)) else 0
    if 'inputs' in batch or 'tokens' in batch:
        return len(batch['inputs'] if batch.get('inputs') is not None else batch['tokens'])
    return sum(_num_samples(part) for part in batch.values())


def _skipped_files(runner: Runner) -> dict[str, int]:
    loader = runner.train_dataloader
    loaders = loader.loaders.values() if isinstance(loader, ZippedLoader) else [loader]
    logs = {log.lines.path: log for log in (getattr(loader.dataset, 'broken_log', None) for loader in loaders) if log is not None}
    return {'skipped_files': sum(log.count() for log in logs.values())} if logs else {}
