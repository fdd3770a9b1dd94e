"""Data sets over lists and folders of files; what is done with a file is the pipeline's business."""
from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mmengine.dist import barrier
from mmengine.logging import print_log
from mmengine.registry import TRANSFORMS as ALL_TRANSFORMS
from torch.utils.data import Dataset

from ..registry import DATASETS, TRANSFORMS
from .broken import BrokenFileError, BrokenLog, TimedOutDraws, TimedOutError
from .broken_policy import TIME_LIMIT, FailureShare, OnBroken, check_on_broken
from .checked_files import CheckedFiles
from .draw_sampler import draw_seed, seeded
from .entries import read_folder, read_list
from .missing import blank, missing_sample, shapes_of


class MediaList(Dataset):
    """Files from an annotation list or a folder, with or without labels. See ``VideoList`` for the arguments."""

    suffixes: frozenset[str] = frozenset()
    broken_log_name = 'broken_videos.jsonl'
    default_stream = 'video'

    def __init__(self, source: str | Path, pipeline: Sequence[dict | Callable], *, labels: bool | None = None,
                 delimiter: str = ' ', data_root: str | Path = '', backend_args: Mapping | None = None,
                 stream: str | None = None, seed: int | None = None, test_mode: bool = False,
                 class_names: Sequence[str] | str | None = None, num_classes: int | None = None,
                 on_broken: OnBroken | None = None, time_limit: float | None = TIME_LIMIT, max_attempts: int = 10,
                 max_broken_share: float = 0.5, broken_log: str | Path | None = None):
        names = _read_names(class_names)
        source = Path(source)
        if source.is_dir():
            self.root = str(source)
            self.entries, names = read_folder(source, self.suffixes, labels, names)
        elif source.is_file():
            self.root = str(data_root)
            self.entries = read_list(source, labels, delimiter)
        else:
            raise ValueError(f'{type(self).__name__}: source {source} is neither a file nor a folder')
        self.checked = CheckedFiles(source, len(self.entries))
        if not len(self.entries):
            raise ValueError(f'{source} holds no {"/".join(sorted(self.suffixes)) if source.is_dir() else "path"}')
        self.num_classes = len(names) if num_classes is None and names else num_classes
        self._check_labels(source)
        self.metainfo = {'classes': tuple(names)} if names else {}
        self.transforms = [build_transform(t) if isinstance(t, dict) else t for t in pipeline]
        self.stream, self.seed, self.test_mode = stream or self.default_stream, seed, test_mode
        self.on_broken = check_on_broken(on_broken, test_mode)
        if time_limit is not None and time_limit <= 0:
            raise ValueError(f'time_limit must be positive seconds, or None for no limit, got {time_limit}')
        self.time_limit, self.backend_args = time_limit, backend_args
        self.failures = FailureShare(max_broken_share)
        self.max_attempts = max_attempts
        self.broken_log = None if broken_log is None else BrokenLog(Path(broken_log) / self.broken_log_name)
        self.timed_out: TimedOutDraws | None = None
        self._warned: set[str] = set()
        self._shapes: dict | None = None  # of the last item, where black frames may be needed

    def _check_labels(self, source) -> None:
        labels = self.entries.labels
        if labels is not None and self.num_classes and labels.max() >= self.num_classes:
            raise ValueError(f'{source}: label {labels.max()} of {self.entries.path(int(labels.argmax()))}, but there '
                             f'are {self.num_classes} classes (0 to {self.num_classes - 1})')

    def __len__(self) -> int:
        return len(self.entries)

    def log_broken_to(self, folder: str | Path, resumed: bool = False) -> None:
        """Keep a run's lists of what cannot be read. All processes of the run call it, before any loads.

        Args:
            folder: of ``timed_out_draws.jsonl``, and of the list of broken files, unless the data set was given a folder
                of its own for that.
            resumed: what timed out before counts as timed out again; else the record of it begins anew.
        """
        if self.broken_log is None:
            self.broken_log = BrokenLog(Path(folder) / self.broken_log_name)
        record = Path(folder) / 'timed_out_draws.jsonl'
        if not resumed:
            record.unlink(missing_ok=True)
            barrier()  # before anybody writes
        self.timed_out = TimedOutDraws(record, self.stream)

    def num_skipped_files(self) -> int:
        """Different files listed as broken so far, by all processes, and by earlier runs with the same list.

        Cheap at any time, also in the main process while workers load: it reads what the list has gained since the last
        call. 0 where no list is kept.
        """
        return 0 if self.broken_log is None else self.broken_log.count()

    def describe(self, index: int) -> dict:
        """What a pipeline starts from: ``filename``, ``sample_idx``, how to read it, what is known of it, any ``label``."""
        described = {'filename': os.path.join(self.root, self.entries.path(index)), 'sample_idx': index,
                     'modality': 'RGB', 'start_index': 0, 'time_limit': self.time_limit, 'backend_args': self.backend_args,
                     'checked': self.checked[index]}
        if self.entries.labels is not None:
            described['label'] = self.entries.label(index)
        return described

    def __getitem__(self, item: int | tuple[int, int]):
        """Load an entry.

        Args:
            item: ``(index, draw)`` as a ``DrawSampler`` gives it, or a plain index, which is its own draw number.

        Returns:
            What the last transform of the pipeline returns; for a missing prediction, see ``on_broken``, black frames of
            the same shape and a ``missing_sample``.

        Raises:
            BrokenFileError: if the file cannot be read and is neither replaced nor missing, or if too many cannot be read.
        """
        index, draw = (item, item) if not isinstance(item, tuple) else item
        for attempt in range(self.max_attempts):
            try:
                return self._attempt(index, draw, attempt)
            except BrokenFileError as error:
                if self.on_broken == 'error':
                    raise
                if self.on_broken == 'missing':
                    return self._missing(index, error)
                last = error
                self._note(error)
                index = draw_seed(self.seed or 0, self.stream, draw, attempt, 'instead') % len(self)
        raise BrokenFileError(f'{self.max_attempts} files drawn in a row cannot be read, the last: {last}.{self._where()}')

    def _attempt(self, index: int, draw: int, attempt: int):
        results = self.describe(index)
        path, start = results['filename'], time.monotonic()
        if self.timed_out is not None and (draw, attempt) in self.timed_out:
            raise TimedOutError(path, 'reading it took too long before this run was resumed')
        try:
            with seeded(self.seed or 0, self.stream, draw, attempt):
                for transform in self.transforms:
                    results = transform(results)
        except TimedOutError:
            if self.timed_out is not None and self.on_broken == 'replace':
                self.timed_out.add(draw, attempt, path, time.monotonic() - start)
            raise
        if self.on_broken == 'missing':
            self._shapes = shapes_of(results)
        else:
            self.failures.add(False)
        return results

    def _missing(self, index: int, error: BrokenFileError) -> dict:
        if self._shapes is None:
            self._shapes = self._shapes_of_another(index, error)
        described = self.describe(index)
        sample = missing_sample(described['filename'], error.reason or str(error), described.get('label'))
        return dict(blank(self._shapes), data_samples=sample)

    def _shapes_of_another(self, index: int, error: BrokenFileError) -> dict:
        """Where no item of this process could be read yet: the shapes of some other that can."""
        for attempt in range(self.max_attempts):
            other = draw_seed(self.stream, index, attempt, 'shape') % len(self)
            try:
                return shapes_of(self._attempt(other, other, 0))
            except BrokenFileError:
                continue
        raise BrokenFileError(f'{error}; nor can any of {self.max_attempts} other files of the list be read, which would tell '
                              'the shape of the clip that takes its place') from error

    def _note(self, error: BrokenFileError) -> None:
        if self.broken_log is not None:
            self.broken_log.add(error.path, error.reason)
        if error.path not in self._warned:
            self._warned.add(error.path)
            print_log(f'skipped a file that cannot be read: {error}', logger='current', level=logging.WARNING)
        self.failures.add(True)
        if self.failures.too_many():
            raise BrokenFileError(f'{self.failures}. The last: {error}.{self._where()}') from error

    def _where(self) -> str:
        return '' if self.broken_log is None else f' All are listed in {self.broken_log.lines.path}'


def build_transform(config: dict):
    """Build one of ours, else the default scope's: mmaction2's ``Resize`` is meant, not mmcv's of the same name."""
    ours = config['type'] in TRANSFORMS.module_dict
    return (TRANSFORMS if ours else ALL_TRANSFORMS).build(config)


def _read_names(class_names) -> list[str] | None:
    if class_names is None:
        return None
    if isinstance(class_names, (str, Path)):
        class_names = [line.strip() for line in Path(class_names).read_text('utf-8').splitlines() if line.strip()]
    return list(class_names)


@DATASETS.register_module()
class VideoList(MediaList):
    """Videos from an annotation list or a folder.

    The random numbers of a draw come from (``seed``, ``stream``, draw number): the three global generators are seeded
    from them around the pipeline, so that workers do not matter.

    In training, a video that cannot be read, or not in time, is replaced by one that is a function of the same numbers
    and of the attempt, and listed; which draws a time-out has replaced is recorded and holds in a resumed run. In testing
    nothing is ever replaced.

    Args:
        source: an annotation file, one ``path`` or ``path<delimiter>label`` a line; or a folder of videos, searched
            recursively, in which two or more sub-folders that hold videos are classes, labelled in the order of names.
        pipeline: transforms, as configs or callables, each given the result of the one before.
        labels: True, False, or None to find out (see ``read_list`` and ``read_folder``).
        delimiter: between path and label; the last one in a line counts, so paths may hold blanks.
        data_root: put before relative paths of a list.
        backend_args: of one of mmengine's file backends, for files that are not on this machine's file system.
        stream: name of the stream, a key of the randomness: loaders zipped together differ. None: 'video'.
        seed: of the randomness; None: that of the ``DrawSampler`` that draws from it (the run's), else 0.
        test_mode: for validation and testing, see ``on_broken``.
        class_names: of the labels in order, or a text file with one a line; go to ``metainfo['classes']``.
        num_classes: labels must be below; None: the number of ``class_names``, where given.
        on_broken: what is done about a video that cannot be read: 'replace' (in training only), 'error', or 'missing' (in
            testing only): its place is kept by black frames and a ``missing_sample``, of which ``ClipClassifier`` and the
            metric ``VideoAccuracy`` make a missing prediction. None: 'error' in testing, else 'replace'.
        time_limit: seconds that opening a video, and decoding its clips, may take; what takes longer cannot be read. None:
            no limit.
        max_attempts: files tried for one draw.
        max_broken_share: of the files that a process has tried lately; where more are broken, training stops.
        broken_log: folder in which ``broken_videos.jsonl`` lists broken files; None: the training loop's work folder.

    Raises:
        ValueError: if the source is missing, empty, or not as ``labels`` says, a label is out of range, or ``on_broken`` does
            not go with ``test_mode``.
    """

    suffixes = frozenset(('.mp4', '.m4v', '.mov', '.mkv', '.webm', '.avi', '.flv', '.wmv', '.mpg', '.mpeg', '.ts',
                          '.m2ts', '.mts', '.3gp', '.ogv', '.vob'))
