"""A trained model named on a command line, and the clip that it reads of any video."""
from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.logging import MessageHub
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from ..datasets.given_videos import drawn_clip, middle_clip
from ..datasets.token_manifest import differences, read_manifest, view_folders
from ..models.classifier import ClipClassifier
from ..models.pretrainer import Pretrainer
from ..models.tokenizers import Tokenizer, load_tokenizer
from ..registry import MODELS
from ..structures import Clips, Features
from ..utils.checksum import checksum_of
from ..utils.foreign_weights import read_weights
from ..utils.plugins import plugin_argument
from .launch import given_config


def model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the words that name a model: ``config`` and ``checkpoint``, and how its clips are made."""
    parser.add_argument('config', help='config of the training')
    parser.add_argument('checkpoint', help='its checkpoint, .pth or .safetensors')
    parser.add_argument('--tokenizer', help='tokenizer file, .safetensors; default: the one in the config')
    parser.add_argument('--fps', type=float, help='frames per second, for a model that reads tokens; default: as its store')
    parser.add_argument('--seed', type=int, default=0, help='of the masks, and of the clip where the config draws it')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={},
                        help='override the config: key=value, nested keys with dots')
    plugin_argument(parser)


@dataclass
class GivenModel:
    """A model in eval mode, and its view of a video.

    Args:
        model: with its weights, on its device.
        read: path of a video to a clip, ``(3, T, H, W)`` uint8; raises ``BrokenFileError``.
        stream: of a ``Pretrainer``, whose clips these are; ``None`` for a ``ClipClassifier``.
    """
    model: Pretrainer | ClipClassifier
    read: Callable[[str], Tensor]
    stream: str | None

    def inputs(self, frames: Tensor) -> Clips | dict[str, Clips]:
        """The argument of the model's ``forward`` for one clip ``(3, T, H, W)`` uint8."""
        batch = dict(inputs=[frames[None]])
        return self.model.data_preprocessor(batch if self.stream is None else {self.stream: batch})['inputs']

    @torch.inference_mode()
    def features(self, frames: Tensor) -> Features:
        """What the backbone makes of one clip ``(3, T, H, W)`` uint8 with nothing hidden."""
        found = []
        hook = self.model.backbone.register_forward_hook(lambda module, args, output: found.append(output))
        try:
            self.model(self.inputs(frames), mode='tensor')
        finally:
            hook.remove()
        return found[0]


def open_model(args: argparse.Namespace) -> GivenModel:
    """Build what :func:`model_arguments` name, its weights strictly loaded.

    A model that reads tokens gets the middle clip of a video, of the size of its grid, through its tokenizer. One that
    reads pixels gets a clip as a pipeline of its config makes it: that of the validation for a ``ClipClassifier``, that of
    the training for a ``Pretrainer``, drawn with ``args.seed``.

    Raises:
        ValueError: if the config trains no such model, does not tell how clips are made, there is no tokenizer, or the
            weights do not fit.
        FileNotFoundError: if there is no such file.
    """
    cfg = given_config(args.config, args.cfg_options, args.plugin)
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    MessageHub.get_current_instance().update_info('seed', args.seed)
    model = _load(cfg, args.checkpoint, args.tokenizer).to(args.device)
    if isinstance(model, ClipClassifier):
        stream, dataset = None, (cfg.get('val_dataloader') or cfg.get('test_dataloader') or cfg.train_dataloader).dataset
    else:
        stream = 'video' if 'video' in model.maskers else next(iter(model.maskers))
        dataset = cfg.train_dataloader.get(stream, cfg.train_dataloader).get('dataset', ConfigDict())
    return GivenModel(model, _reader(model, dataset, args.fps, args.seed), stream)


def _load(cfg: Config, checkpoint: str, tokenizer: str | None) -> nn.Module:
    if tokenizer is not None:
        cfg.model.tokenizer = dict(type=f'ssvideo.{type(load_tokenizer(tokenizer)).__name__}', checkpoint=tokenizer)
    model = MODELS.build(cfg.model)
    if not isinstance(model, (Pretrainer, ClipClassifier)):
        raise ValueError(f'the config trains a {type(model).__name__}, expected a Pretrainer or a ClipClassifier: give a config '
                         'of pre-training or fine-tuning')
    if model.backbone.reads == 'tokens' and _tokenizer_of(model) is None:
        raise ValueError('this model reads tokens from a store: say with --tokenizer which file made them')
    weights = read_weights(checkpoint).tensors
    if isinstance(model, ClipClassifier) and model.tokenizer is not None:  # which its checkpoint may lack
        weights = {f'tokenizer.{key}': value for key, value in model.tokenizer.state_dict().items()} | weights
    try:
        model.load_state_dict(weights)
    except (RuntimeError, ValueError) as error:  # torch's, and a backbone's own
        raise ValueError(f'{checkpoint} does not fit the model of the config. {error}') from error
    return model.eval()


def _tokenizer_of(model: Pretrainer | ClipClassifier) -> Tokenizer | None:
    if isinstance(model, ClipClassifier):
        return model.tokenizer
    return model.tokenizers[model.default_target] if model.tokenizers else None


def _reader(model: Pretrainer | ClipClassifier, dataset: Mapping, fps: float | None, seed: int) -> Callable[[str], Tensor]:
    if model.backbone.reads == 'tokens':
        stride = _tokenizer_of(model).stride
        frames, height, width = (cells * step for cells, step in zip(model.backbone.grid, stride))
        if height != width:
            raise ValueError(f'the model reads clips of {height} x {width} pixels, expected a square')
        rate = _rate(dataset, fps, _tokenizer_of(model)) * stride[0]  # of frames: that of a store is of tokens
        return partial(middle_clip, num_frames=frames, fps=rate, size=height)
    if fps is not None:
        raise ValueError('--fps is for models that read tokens; this one reads clips as its config draws them. Change that with '
                         '--cfg-options')
    if not dataset.get('pipeline'):
        raise ValueError('the config has no pipeline that clips could be drawn with')
    pack = [] if dataset['pipeline'][-1]['type'].endswith('PackActionInputs') else [dict(type='PackActionInputs')]
    kept = [transform for transform in dataset['pipeline'] if transform['type'] != 'ssvideo.StoredTokens']
    return partial(drawn_clip, pipeline=[*kept, *pack], seed=seed)


def _rate(dataset: Mapping, fps: float | None, tokenizer: Tokenizer) -> float:
    """Frames per second that are tokenized: as said, else as in the store, which must be of the same tokenizer."""
    stores = dataset.get('store') or 'no store'
    store = Path(stores if isinstance(stores, str) else stores[0])
    try:
        manifest = read_manifest(view_folders(store)[0])
    except ValueError as error:
        if fps is None:
            raise ValueError(f'say the frame rate with --fps (VIMPAC: 2), as the store does not: {error}') from error
        return fps
    if wrong := differences(manifest, dict(tokenizer=checksum_of(tokenizer))):
        raise ValueError(f'{store} was made by another tokenizer, and the model knows its ids alone: {"; ".join(wrong)}')
    return fps or manifest['fps'] / dataset.get('frame_interval', 1)
