"""Checkpoints that survive kills and full disks, and that can be read without executing anything."""
from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.dist import is_main_process, master_only
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.runner import Runner

from ...registry import HOOKS
from ...utils.mmengine_checkpoints import read_checkpoint
from ..checkpoint_files import INTERRUPTED, POINTER, remove_leftovers, whole
from ..plain_checkpoint import to_plain, to_runtime
from ..same_run import (
    checksums_of_tokenizers,
    compare_tokenizers,
    describe_run,
    refuse_other_run,
    refuse_other_weights,
)
from ..streams import ZippedLoader
from ..zero_adamw import gather_state
from .bare_model import bare_model


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """mmengine's hook of the same name, and what is missing there.

    * A checkpoint is there whole or not at all: it is written under a temporary name, brought to the disk and renamed;
      then ``last_checkpoint`` is written in the same way; only then is an old one deleted. So a folder needs room for one
      checkpoint more than ``max_keep_ckpts``.
    * Where it cannot be written (a full disk), an error is logged and training goes on; the last good one stays. If that is
      so with the last checkpoint of all, the run ends with an error.
    * It holds tensors and built-ins only, is read back as such, and is written at the end of an optimiser step: the first
      one after ``interval`` iterations.
    * It knows its run (seed, processes, batches, tokenizers by checksum). Resuming in another one is an error.

    Arguments are mmengine's. ``out_dir`` must be a folder of this file system.

    Raises:
        ValueError: for a remote ``out_dir``.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if '://' in str(self.out_dir or '') or self.file_client_args or self.backend_args:
            raise ValueError(f'CheckpointHook writes to folders of this file system, where a file can be renamed; got '
                             f'out_dir={self.out_dir!r}: write below the work folder, and copy from there')
        self.keep_ckpt_ids: list[int] = []
        self.key_indicators = getattr(self, 'key_indicators', ())  # metrics of save_best
        self._checksums: dict[str, str] | None = None
        self._failed = False

    # ---------------------------------------------------------------------------------------------------- when to save

    def before_train(self, runner: Runner) -> None:
        """Find the folder, and clean up after a process that was killed while it wrote."""
        super().before_train(runner)
        self.keep_ckpt_ids = list(getattr(self, 'keep_ckpt_ids', ()))  # mmengine's is a queue that forgets by itself
        Path(self.out_dir).mkdir(parents=True, exist_ok=True)
        if is_main_process():
            for path in {*remove_leftovers(Path(self.out_dir)), *remove_leftovers(Path(runner.work_dir))}:
                runner.logger.info(f'removed {path}, which a killed process left half written')

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Save, where iterations are counted, at the end of the optimiser step in which the interval ends."""
        if self.by_epoch or not runner.optim_wrapper.should_update():
            return
        done, counts = runner.iter + 1, runner.optim_wrapper._accumulative_counts
        due = self.interval > 0 and done >= self.save_begin and (done - self.save_begin) % self.interval < counts
        if due or (self.save_last and self.is_last_train_iter(runner)):
            runner.logger.info(f'Saving checkpoint at {done} iterations')
            self._save_checkpoint(runner)

    @master_only
    def after_train(self, runner: Runner) -> None:
        """Publish, where it is asked for.

        Raises:
            RuntimeError: if the last checkpoint could not be written.
        """
        if self._failed:
            raise RuntimeError(f'training is done, but its last checkpoint could not be written; the last good one is '
                               f'{self._last_good}. Make room and go on from there with --resume')
        if self.published_keys and self.last_ckpt:
            best = [runner.message_hub.get_info(f'best_ckpt{self._suffix(key)}') for key in self.key_indicators]
            for path in filter(None, [self.save_last and self.last_ckpt, *best]):
                self._publish_model(runner, path)

    def save_interrupted(self, runner: Runner) -> None:
        """Save between two iterations of a run that ends now; the next regular checkpoint takes its place."""
        gather_state(runner.optim_wrapper.optimizer)
        if is_main_process():
            self._save(runner, INTERRUPTED, dict(epoch=runner.epoch, iter=runner.iter + 1), self.keep_ckpt_ids)

    # --------------------------------------------------------------------------------------------- what is in the file

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Describe the run, and turn everything into tensors and built-ins."""
        if self._checksums is None:
            self._checksums = checksums_of_tokenizers(bare_model(runner))
        checkpoint['meta']['tokenizers'] = self._checksums
        if isinstance(runner.train_dataloader, ZippedLoader):
            checkpoint['meta']['run'] = describe_run(runner)
        to_plain(checkpoint)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Rebuild what mmengine needs; on resume, refuse a checkpoint of another model, run or tokenizer.

        Raises:
            ValueError: naming what differs.
        """
        meta, model = checkpoint.get('meta', {}), bare_model(runner)
        to_runtime(checkpoint)
        other = meta.get('tokenizers') and compare_tokenizers(meta['tokenizers'], checksums_of_tokenizers(model))
        if runner._resume:
            if not all(isinstance(meta.get(key), int) for key in ('epoch', 'iter')) or 'message_hub' not in checkpoint:
                raise ValueError('this is not the checkpoint of a training, so none can be resumed from it; to start from '
                                 'its weights, set load_from=FILE and resume=False')
            refuse_other_weights(model, checkpoint, shapes='stage_before' not in meta)
            if other:
                raise ValueError(f'{other}: resume with the same file')
            refuse_other_run(runner, meta)
        elif other:
            runner.logger.warning(other)

    # ---------------------------------------------------------------------------------------------- how it is written

    def _save_checkpoint(self, runner: Runner) -> None:
        gather_state(runner.optim_wrapper.optimizer)
        super()._save_checkpoint(runner)

    @master_only
    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        keep = [*(one for one in self.keep_ckpt_ids if one != step), step]
        if self._save(runner, self.filename_tmpl.format(step), meta, keep):
            self.keep_ckpt_ids = keep
            with self._surviving(runner, 'deleting old checkpoints'):
                (Path(self.out_dir) / INTERRUPTED).unlink(missing_ok=True)
                while 0 < self.max_keep_ckpts < len(self.keep_ckpt_ids):
                    old = Path(self.out_dir) / self.filename_tmpl.format(self.keep_ckpt_ids[0])
                    if str(old) != self.last_ckpt:  # a name without a number is always the newest one's
                        old.unlink(missing_ok=True)
                    del self.keep_ckpt_ids[0]

    def _save(self, runner: Runner, name: str, meta: dict, keep: list[int]) -> bool:
        """Write a checkpoint that a run can resume, then the pointer to it; whether both are there."""
        path, hub = Path(self.out_dir) / name, runner.message_hub
        hub.update_info('last_ckpt', str(path))
        if self.max_keep_ckpts > 0:  # with what is deleted next: if a kill comes first, the resumed run deletes it
            hub.update_info('keep_ckpt_ids', list(keep))
        with self._surviving(runner, f'writing {path}') as outcome:
            self._write(runner, path, meta)
            with whole(Path(runner.work_dir) / POINTER) as temporary:
                temporary.write_text(str(path))
            self.last_ckpt = str(path)
        self._failed = bool(outcome)
        return not self._failed

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        if self.save_best:
            gather_state(runner.optim_wrapper.optimizer)
            if is_main_process():
                self._save_better(runner, metrics)

    def _save_better(self, runner: Runner, metrics: dict) -> None:
        if 'auto' in self.key_indicators:
            self._init_rule(self.rules, [next(iter(metrics))])
        hub, replaced = runner.message_hub, []
        step = runner.epoch if self.by_epoch else runner.iter
        for key, rule in zip(self.key_indicators, self.rules):
            score, suffix = metrics[key], self._suffix(key)
            if score is None or not self.rule_map[rule](score, hub.get_info(f'best_score{suffix}', self.init_value_map[rule])):
                continue
            path = Path(self.out_dir) / f'best_{key}_{self.filename_tmpl.format(step)}'.replace('/', '_')
            with self._surviving(runner, f'writing {path}'):
                self._write(runner, path, dict(epoch=runner.epoch, iter=runner.iter), resumable=False)
                replaced.append(hub.get_info(f'best_ckpt{suffix}', str(path)))
                hub.update_info(f'best_score{suffix}', score)
                hub.update_info(f'best_ckpt{suffix}', str(path))
                runner.logger.info(f'The best checkpoint with {score:0.4f} {key} is saved to {path.name}.')
        if replaced and self.last_ckpt:  # once more, so that a resumed run knows the best one
            self._save_checkpoint_with_step(runner, step, dict(epoch=runner.epoch, iter=runner.iter))
        kept = [hub.get_info(f'best_ckpt{self._suffix(key)}', '') for key in self.key_indicators]
        with self._surviving(runner, 'deleting the best checkpoint before'):
            for path in set(map(Path, replaced)) - set(map(Path, kept)):
                if path.parent == Path(self.out_dir):  # and not in the folder of the run that this one goes on from
                    path.unlink(missing_ok=True)

    def _write(self, runner: Runner, path: Path, meta: dict, resumable: bool = True) -> None:
        with whole(path) as temporary:
            runner.save_checkpoint(str(path.parent), temporary.name, save_optimizer=resumable and self.save_optimizer,
                                   save_param_scheduler=resumable and self.save_param_scheduler, meta=meta, **self.args)

    @master_only
    def _publish_model(self, runner: Runner, ckpt_path: str) -> None:
        path, buffer = Path(ckpt_path), io.BytesIO()
        torch.save({key: value for key, value in read_checkpoint(path).items() if key in self.published_keys}, buffer)
        content = buffer.getvalue()
        published = path.with_name(f'{path.stem}-{hashlib.sha256(content).hexdigest()[:8]}.pth')
        with self._surviving(runner, f'writing {published}'), whole(published) as temporary:
            temporary.write_bytes(content)
            runner.logger.info(f'The checkpoint {path} is published to {published}')

    @property
    def _last_good(self) -> str:
        return self.last_ckpt or 'the one that the run went on from, if any'

    def _suffix(self, key: str) -> str:
        """What tells the best checkpoints of several metrics apart in the message hub."""
        return '' if len(self.key_indicators) == 1 else f'_{key}'

    @contextmanager
    def _surviving(self, runner: Runner, doing: str) -> Iterator[list]:
        """A full disk ends what is within this context, not the training; the error is in the list that is yielded."""
        outcome: list[OSError] = []
        try:
            yield outcome
        except OSError as error:
            outcome.append(error)
            runner.logger.error(f'NO CHECKPOINT: {doing} failed: {error}. Training goes on; the last good checkpoint is '
                                f'{self._last_good}. Make room before the next one is due')
