"""Pictures of what a pre-training run hides and predicts."""
from __future__ import annotations

from pathlib import Path

import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from ...apis.reconstruct import reconstruct_masked
from ...models.pretrainer import Pretrainer
from ...registry import HOOKS, MODELS
from ...structures import Clips
from ...visualization import draw_masks, draw_reconstructions, to_frames
from .bare_model import bare_model


@HOOKS.register_module()
class PicturesHook(Hook):
    """Draws masks over frames and reconstructions into ``work_dir/pictures``, from the last batch of an epoch.

    For a ``Pretrainer`` each stream gives ``<stream>_masks.png`` and ``<stream>_reconstruction.png``; for a tokenizer's
    trainer its reconstructions give ``reconstruction.png``.

    Args:
        num_clips: clips to draw.
        interval: epochs between pictures; the last epoch always has them.
        tokenizer: config of the tokenizer that decodes, for models that read tokens from a store.
    """
    priority = 'LOW'

    def __init__(self, num_clips: int = 3, interval: int | None = None, tokenizer: dict | None = None) -> None:
        self.num_clips = num_clips
        self.interval = interval
        self.tokenizer = tokenizer
        self._batch = None

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Remember the batch; it is drawn at the end of the epoch."""
        self._batch = data_batch

    @master_only
    def after_train_epoch(self, runner: Runner) -> None:
        """Draw, if it is time."""
        if self.every_n_epochs(runner, self.interval or -1) or self.is_last_train_epoch(runner):
            self.draw(runner)

    @torch.no_grad()
    def draw(self, runner: Runner) -> None:
        """Draw the last batch."""
        model = bare_model(runner)
        was_training = model.training
        model.eval()
        folder = Path(runner.work_dir) / 'pictures'
        inputs = {stream: _first(clips, self.num_clips)
                  for stream, clips in model.data_preprocessor(self._batch)['inputs'].items()}
        if isinstance(model, Pretrainer):
            self._draw_pretrainer(model, inputs, folder)
        else:
            _draw_tokenizer(model, inputs, folder)
        model.train(was_training)
        runner.logger.info(f'Pictures are in {folder}')

    def _draw_pretrainer(self, model: Pretrainer, inputs: dict[str, Clips], folder: Path) -> None:
        tokenizer = None
        if self.tokenizer is not None:
            tokenizer = MODELS.build(self.tokenizer).to(next(model.parameters()).device)
        for stream, found in reconstruct_masked(model, inputs, tokenizer).items():
            shown = found.tokenized if found.frames is None else found.frames
            for clip in range(len(found.mask)):
                number = f'_{clip}' if clip else ''
                draw_masks(to_frames(shown[clip]), found.mask[clip].cpu().numpy(), folder / f'{stream}_masks{number}.png')
                draw_reconstructions(found.rows(clip), folder / f'{stream}_reconstruction{number}.png')


def _draw_tokenizer(model, inputs: dict[str, Clips], folder: Path) -> None:
    pictures = model.pictures(inputs)[:8]  # (M, 3, H, W), drawn as the frames of a clip
    rebuilt = model(inputs, mode='predict')[:8]
    draw_reconstructions({'frames': to_frames(pictures.transpose(0, 1)),
                          'rebuilt from tokens': to_frames(rebuilt.transpose(0, 1))}, folder / 'reconstruction.png')


def _first(clips: Clips, num: int) -> Clips:
    def cut(x: Tensor | None) -> Tensor | None:
        return None if x is None else x[:num]

    return Clips(cut(clips.frames), cut(clips.pixels), cut(clips.tokens), cut(clips.pad))
