"""Writes the tokenizer that a training makes."""
from __future__ import annotations

from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from ...registry import HOOKS
from .bare_model import bare_model


@HOOKS.register_module()
class SaveTokenizerHook(Hook):
    """At the end of training, writes the trained tokenizer as the file that a config of pre-training names.

    Args:
        out: the file, below the work folder unless absolute.
    """

    def __init__(self, out: str = 'tokenizer.safetensors') -> None:
        self.out = out

    def before_train(self, runner) -> None:
        """Fail early rather than at the end.

        Raises:
            ValueError: if the model makes no tokenizer.
        """
        if not hasattr(bare_model(runner), 'save_tokenizer'):
            raise ValueError(f'SaveTokenizerHook: {type(bare_model(runner)).__name__} makes no tokenizer (it has no '
                             'save_tokenizer); use it with DalleVAE or PecoVQVAE')

    def after_train(self, runner) -> None:
        """Write the file, on the main process."""
        if is_main_process():
            path = Path(runner.work_dir) / self.out
            bare_model(runner).save_tokenizer(path)
            runner.logger.info(f'the tokenizer is in {path}')
