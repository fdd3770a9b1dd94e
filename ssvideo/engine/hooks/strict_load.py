"""Starts a training from the weights that are meant, and from no others."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...apis.load_pretrained import compare_weights, log_report
from ...registry import HOOKS
from ...utils.model_file import refuse_other_shapes
from .bare_model import bare_model


@HOOKS.register_module()
class StrictLoadHook(Hook):
    """With ``load_from``, logs what is loaded, resized, missing and unexpected, and refuses what the recipe does not expect.

    mmengine loads what fits and leaves the rest as it was initialised. A run that is resumed is compared elsewhere.

    Args:
        allow_missing: beginnings of the names of weights that the checkpoint may lack, such as ``'objectives.'``; they keep
            their initial values. ``''`` allows any.
        allow_unexpected: the same for weights that the model lacks; they are left out.

    Raises:
        ValueError: if other weights are missing or unexpected, or one has another shape, before any is loaded.
    """

    def __init__(self, allow_missing: Sequence[str] = (), allow_unexpected: Sequence[str] = ()) -> None:
        for word, prefixes in (('allow_missing', allow_missing), ('allow_unexpected', allow_unexpected)):
            if isinstance(prefixes, str):
                raise ValueError(f'StrictLoadHook: {word} must be a list of beginnings of names, got {prefixes!r}')
        self.allow_missing, self.allow_unexpected = tuple(allow_missing), tuple(allow_unexpected)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare, log, and refuse."""
        if runner._resume:
            return
        weights = {name.removeprefix('module.'): value for name, value in checkpoint.get('state_dict', checkpoint).items()}
        model = bare_model(runner)
        report, fitted = compare_weights(runner._load_from, model, weights, source={})
        log_report(report)
        wrong = replace(report, missing=[name for name in report.missing if not name.startswith(self.allow_missing)],
                        unexpected=[name for name in report.unexpected if not name.startswith(self.allow_unexpected)])
        if wrong.missing or wrong.unexpected:
            raise ValueError(f'{report.path} is not what this recipe starts from: {wrong.in_words()}. If this is meant, say so '
                             'with default_hooks.strict_load.allow_missing and allow_unexpected, lists of beginnings of names')
        refuse_other_shapes(model.state_dict(), fitted)
