"""Compilation of a model's parts, by one line of a config."""
from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...registry import HOOKS
from ..compiled_parts import compile_parts
from .bare_model import bare_model

CACHE = 'TORCHINDUCTOR_CACHE_DIR'
"""Where torch keeps what it has compiled; it reads this from the environment."""


@HOOKS.register_module()
class CompileHook(Hook):
    """Compiles parts of the model before training; see :func:`~ssvideo.engine.compiled_parts.compile_parts`.

    Every recipe has this hook, with no parts. To compile them: ``default_hooks.compile.parts=backbone,objectives,tokenizers``.

    Args:
        parts: names of submodules, such as ``('backbone', 'objectives', 'tokenizers')``; empty: nothing is compiled.
        backend: of ``torch.compile``.
        cache_dir: folder of what torch has compiled, for the restarts of a run, or for all processes of several machines.
            It holds code, which later runs execute: let nobody else write there. ``None``: torch's own choice, a folder for
            temporary files of this machine.
    """

    def __init__(self, parts: Sequence[str] = (), backend: str = 'inductor', cache_dir: str | None = None) -> None:
        self.parts = (parts,) if isinstance(parts, str) else tuple(parts)
        self.backend = backend
        self.cache_dir = cache_dir

    def before_train(self, runner: Runner) -> None:
        """Compile; the first step then takes longer.

        Raises:
            ValueError: if the model has no such part.
        """
        if not self.parts:
            return
        if self.cache_dir is not None:
            os.environ[CACHE] = str(Path(self.cache_dir).absolute())
        names = compile_parts(bare_model(runner), self.parts, self.backend)
        runner.logger.info(f'compiled in the first steps, by {self.backend}: {", ".join(names) or "nothing"}')
