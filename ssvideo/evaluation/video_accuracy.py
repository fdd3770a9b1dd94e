"""Accuracy over a list of which some videos could not be read."""
from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmaction.evaluation import AccMetric
from mmengine.logging import print_log

from ..registry import METRICS
from ..utils.files import write_whole


@METRICS.register_module()
class VideoAccuracy(AccMetric):
    """mmaction2's ``AccMetric`` for data sets with ``on_broken='missing'``: a missing prediction counts as wrong.

    Beside the accuracies it reports ``missing_share``, the share of the videos without a prediction. Their paths and reasons
    go to ``missing_file``, which says what the last validation or test has missed: it is written anew by each.

    Args:
        metric_list: of 'top_k_accuracy' and 'mean_class_accuracy'.
        metric_options: as ``AccMetric`` has them, ``dict(top_k_accuracy=dict(topk=(1, 5)))``.
        collect_device: 'cpu' or 'gpu', by which processes bring their results together.
        prefix: of the figures' names; None: 'acc'.

    Attributes:
        missing_file: ``missing_predictions.jsonl`` of the run, as ``BrokenFilesHook`` sets it; None: only the log
            tells.

    Raises:
        ValueError: for another metric, which missing predictions have no place in.
    """

    counts_missing = True
    missing_file: Path | None = None

    def __init__(self, metric_list: str | Sequence[str] = ('top_k_accuracy', 'mean_class_accuracy'),
                 metric_options: dict | None = None, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        metric_list = (metric_list,) if isinstance(metric_list, str) else tuple(metric_list)
        if unknown := set(metric_list) - {'top_k_accuracy', 'mean_class_accuracy'}:
            raise ValueError(f"VideoAccuracy: metric_list must be of 'top_k_accuracy' and 'mean_class_accuracy', got "
                             f'{sorted(unknown)}: use AccMetric and on_broken="error"')
        super().__init__(metric_list, collect_device, metric_options or dict(top_k_accuracy=dict(topk=(1, 5))), prefix)

    def process(self, data_batch, data_samples: Sequence[dict]) -> None:
        """Keep what is needed of a batch of predictions, in their order."""
        for sample in data_samples:
            if 'missing' not in sample:
                super().process(data_batch, [sample])
                continue
            if sample['missing_label'] is None:
                raise ValueError(f'{sample["filename"]} has no label: accuracy needs a list with labels')
            self.results.append(dict(path=sample['filename'], missing=sample['missing'], label=sample['missing_label']))

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Accuracies over all videos, and the share of those without a prediction."""
        read = [result for result in results if 'missing' not in result]
        missing = [result for result in results if 'missing' in result]
        figures = super().compute_metrics(read) if read else {}
        if missing and 'top_k_accuracy' in self.metrics:
            topk = self.metric_options.get('top_k_accuracy', {}).get('topk', (1, 5))
            for name in (f'top{k}' for k in ((topk,) if isinstance(topk, int) else topk)):
                figures[name] = figures.get(name, 0.0) * len(read) / len(results)
        if missing and 'mean_class_accuracy' in self.metrics:
            figures['mean1'] = mean_class_accuracy(read, missing)
        self._tell(missing, len(results))
        return dict(figures, missing_share=len(missing) / len(results))

    def _tell(self, missing: Sequence[dict], num_videos: int) -> None:
        """List what is missing; an older list would be wrong."""
        if self.missing_file is not None and not missing:
            self.missing_file.unlink(missing_ok=True)
        elif self.missing_file is not None:
            lines = [json.dumps(dict(path=result['path'], reason=result['missing'])) + '\n' for result in missing]
            write_whole(self.missing_file, ''.join(lines))
        if missing:
            first = missing[0]
            where = f'all are listed in {self.missing_file}' if self.missing_file else 'BrokenFilesHook would list them'
            print_log(f'{len(missing)} of {num_videos} videos could not be read and count as wrong, the first '
                      f'{first["path"]} ({first["missing"]}); {where}', 'current', logging.WARNING)


def mean_class_accuracy(read: Sequence[dict], missing: Sequence[dict]) -> float:
    """Mean over the classes of the share of their videos that are classified rightly.

    As mmaction2's, the mean includes classes that are predicted but have no video, as 0.

    Args:
        read: ``pred`` (scores) and ``label`` of each video that could be read.
        missing: ``label`` of each that could not.
    """
    predicted = np.array([np.argmax(result['pred']) for result in read], np.int64)
    labels = np.array([result['label'] for result in read], np.int64)
    lost = np.array([result['label'] for result in missing], np.int64)
    classes = np.unique(np.concatenate([predicted, labels, lost]))
    shares = [np.sum((predicted == c) & (labels == c)) / max(np.sum(labels == c) + np.sum(lost == c), 1) for c in classes]
    return float(np.mean(shares))
