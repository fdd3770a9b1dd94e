"""Data sets over lists and folders of files; what is done with a file is the pipeline's business."""
from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from mmengine.logging import print_log
from mmengine.registry import TRANSFORMS as ALL_TRANSFORMS
from torch.utils.data import Dataset

from ..registry import DATASETS, TRANSFORMS
from .broken import BrokenFileError, BrokenLog
from .draw_sampler import draw_seed, seeded
from .entries import read_folder, read_list


class MediaList(Dataset):
    """Files from an annotation list or a folder, with or without labels. See ``VideoList`` for the arguments."""

    suffixes: frozenset[str] = frozenset()

    def __init__(self, source: str | Path, pipeline: Sequence[dict | Callable], *, labels: bool | None = None,
                 delimiter: str = ' ', data_root: str | Path = '', stream: str = 'video', seed: int | None = None,
                 test_mode: bool = False, class_names: Sequence[str] | str | None = None,
                 num_classes: int | None = None, max_attempts: int = 10, max_broken_share: float = 0.5,
                 broken_log: str | Path | None = None):
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
        if not len(self.entries):
            raise ValueError(f'{source} holds no {"/".join(sorted(self.suffixes)) if source.is_dir() else "path"}')
        self.num_classes = len(names) if num_classes is None and names else num_classes
        self._check_labels(source)
        self.metainfo = {'classes': tuple(names)} if names else {}
        self.transforms = [build_transform(t) if isinstance(t, dict) else t for t in pipeline]
        self.stream, self.seed, self.test_mode = stream, seed, test_mode
        self.max_attempts, self.max_broken_share = max_attempts, max_broken_share
        self.broken_log = None if broken_log is None else BrokenLog(Path(broken_log) / self.broken_log_name)
        self.num_tried = self.num_broken = 0
        self._warned: set[str] = set()

    broken_log_name = 'broken_videos.jsonl'

    def _check_labels(self, source) -> None:
        labels = self.entries.labels
        if labels is not None and self.num_classes and labels.max() >= self.num_classes:
            raise ValueError(f'{source}: label {labels.max()} of {self.entries.path(int(labels.argmax()))}, but there '
                             f'are {self.num_classes} classes (0 to {self.num_classes - 1})')

    def __len__(self) -> int:
        return len(self.entries)

    def log_broken_to(self, folder: str | Path) -> None:
        """List broken files in ``folder``, unless the data set was given a folder of its own."""
        if self.broken_log is None:
            self.broken_log = BrokenLog(Path(folder) / self.broken_log_name)

    def describe(self, index: int) -> dict:
        """What a pipeline starts from: ``filename``, ``sample_idx`` and, where there is one, ``label``."""
        described = {'filename': os.path.join(self.root, self.entries.path(index)), 'sample_idx': index,
                     'modality': 'RGB', 'start_index': 0}
        if self.entries.labels is not None:
            described['label'] = self.entries.label(index)
        return described

    def __getitem__(self, item: int | tuple[int, int]):
        """Load an entry.

        Args:
            item: ``(index, draw)`` as a ``DrawSampler`` gives it, or a plain index, which is its own draw number.

        Returns:
            What the last transform of the pipeline returns.

        Raises:
            BrokenFileError: in testing, if the file cannot be read; in training, if too many cannot.
        """
        index, draw = (item, item) if not isinstance(item, tuple) else item
        for attempt in range(self.max_attempts):
            try:
                return self._load(index, draw, attempt)
            except BrokenFileError as error:
                if self.test_mode:
                    raise
                last = error
                self._note(error)
                index = draw_seed(self.seed or 0, self.stream, draw, attempt, 'instead') % len(self)
        raise BrokenFileError(f'{self.max_attempts} files drawn in a row cannot be read, the last: {last}')

    def _load(self, index: int, draw: int, attempt: int):
        self.num_tried += 1
        results = self.describe(index)
        with seeded(self.seed or 0, self.stream, draw, attempt):
            for transform in self.transforms:
                results = transform(results)
        return results

    def _note(self, error: BrokenFileError) -> None:
        self.num_broken += 1
        if self.broken_log is not None:
            self.broken_log.add(error.path, error.reason)
        if error.path not in self._warned:
            self._warned.add(error.path)
            print_log(f'skipped a file that cannot be read: {error}', logger='current', level=30)
        # 64: enough draws for a share to mean something
        if self.num_tried >= 64 and self.num_broken > self.max_broken_share * self.num_tried:
            raise BrokenFileError(f'{self.num_broken} of {self.num_tried} files drawn cannot be read, more than '
                                  f'max_broken_share={self.max_broken_share}. The last: {error}') from error


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
    from them around the pipeline, so that workers do not matter. In training, a video that cannot be read is replaced
    by one that is a function of the same numbers, and listed; in testing it is an error that names the file.

    Args:
        source: an annotation file, one ``path`` or ``path<delimiter>label`` a line; or a folder of videos, searched
            recursively, in which two or more sub-folders that hold videos are classes, labelled in the order of names.
        pipeline: transforms, as configs or callables, each given the result of the one before.
        labels: True, False, or None to find out (see ``read_list`` and ``read_folder``).
        delimiter: between path and label; the last one in a line counts, so paths may hold blanks.
        data_root: put before relative paths of a list.
        stream: name of the stream, a key of the randomness: loaders zipped together differ.
        seed: of the randomness; None: that of the ``DrawSampler`` that draws from it (the run's), else 0.
        test_mode: a video that cannot be read is an error, never replaced.
        class_names: of the labels in order, or a text file with one a line; go to ``metainfo['classes']``.
        num_classes: labels must be below; None: the number of ``class_names``, where given.
        max_attempts: files tried for one draw.
        max_broken_share: of the files a process has tried; where more are broken, training stops.
        broken_log: folder in which ``broken_videos.jsonl`` lists broken files; None: the training loop's work folder.

    Raises:
        ValueError: if the source is missing, empty, or not as ``labels`` says, or a label is out of range.
    """

    suffixes = frozenset(('.mp4', '.m4v', '.mov', '.mkv', '.webm', '.avi', '.flv', '.wmv', '.mpg', '.mpeg', '.ts',
                          '.m2ts', '.mts', '.3gp', '.ogv', '.vob'))
