"""A backbone that is used as it is: nothing is hidden, nothing learns."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from ..registry import MODELS
from ..structures import Clips, Features
from ..utils.foreign_weights import read_weights
from .backbones.base import Backbone
from .tokenizers import Tokenizer, load_tokenizer

PREFIX = 'backbone.'
"""Under which models of this package keep their backbone's weights."""


class FrozenEncoder(BaseModel):
    """Encodes clips with the backbone of a trained model, in eval mode and without gradients.

    Args:
        backbone: with its weights.
        data_preprocessor: makes clips of batches, a ``ClipPreprocessor``.
        tokenizer: for a backbone that reads tokens, from clips that bring only frames.

    Raises:
        ValueError: if the backbone reads pixels and the preprocessor makes none.
    """

    def __init__(self, backbone: Backbone, data_preprocessor: nn.Module, tokenizer: Tokenizer | None = None) -> None:
        super().__init__(data_preprocessor)
        if backbone.reads == 'pixels' and not data_preprocessor.normalises:
            raise ValueError(f'{type(backbone).__name__} reads pixels, and the model does not say how to normalise them: give '
                             "its config data_preprocessor=dict(type='ssvideo.ClipPreprocessor', mean=..., std=...)")
        self.backbone, self.tokenizer = backbone, tokenizer
        self.eval()

    @classmethod
    def of(cls, model: nn.Module, tokenizer: Tokenizer | None = None) -> FrozenEncoder:
        """Use the backbone of a model; it is put into eval mode.

        Args:
            model: a ``Pretrainer``, a ``ClipClassifier``, or an encoder, which is returned unless there is a tokenizer.
            tokenizer: in the place of the model's own.

        Raises:
            ValueError: if the model has no backbone.
        """
        if isinstance(model, cls) and tokenizer is None:
            return model
        if not isinstance(getattr(model, 'backbone', None), Backbone):
            raise ValueError(f'a {type(model).__name__} has no backbone to use: load a Pretrainer or a ClipClassifier')
        if tokenizer is None and model.backbone.reads == 'tokens':
            tokenizers = getattr(model, 'tokenizers', None)  # of a Pretrainer
            tokenizer = tokenizers[model.default_target] if tokenizers else getattr(model, 'tokenizer', None)
        return cls(model.backbone, model.data_preprocessor, tokenizer)

    def train(self, mode: bool = True) -> FrozenEncoder:
        """Stays in eval mode."""
        return super().train(False)

    def clips(self, batch: Mapping) -> Clips:
        """Clips of a batch, on the device; see ``ClipPreprocessor``."""
        return self.data_preprocessor(batch)['inputs']

    @torch.no_grad()  # not inference mode: somebody may train on the features
    def forward(self, clips: Clips) -> Features:
        """Encode N clips.

        Raises:
            ValueError: if they do not bring what the backbone reads, and there is no tokenizer to make it.
        """
        return self.backbone(self._inputs(clips))

    def encode_frames(self, frames: Tensor) -> Features:
        """Encode ``(N, 3, T, H, W)`` uint8 frames, wherever they are."""
        return self(self.clips(dict(inputs=list(frames[:, None]))))

    def _inputs(self, clips: Clips) -> Tensor:
        if self.backbone.reads == 'pixels':
            if clips.pixels is None:
                raise ValueError(f'{type(self.backbone).__name__} reads pixels, and the clips have none: read them from videos')
            return clips.pixels
        if clips.tokens is not None:
            return clips.tokens
        if self.tokenizer is None:
            raise ValueError(f'{type(self.backbone).__name__} reads tokens, and the clips are frames: say which tokenizer makes '
                             'them (tokenizer=, --tokenizer FILE), or read them from a token store')
        return self.tokenizer(clips.frames / 255)


def build_encoder(model: Mapping, checkpoint: str | Path | None, tokenizer: str | Path | None = None,
                  seed: int = 0) -> FrozenEncoder:
    """Build the backbone that a config describes, with the weights of a checkpoint.

    Args:
        model: config of a ``Pretrainer`` or a ``ClipClassifier``; where else it would get weights from does not matter.
        checkpoint: of any model with this backbone, ``.pth`` or ``.safetensors``, pre-trained or fine-tuned; ``None``: the
            backbone keeps random weights.
        tokenizer: tokenizer file; ``None``: the config's own, where there is one.
        seed: of the random weights.

    Raises:
        ValueError: if the config has no backbone, or the checkpoint does not hold its weights, whole.
        FileNotFoundError: if there is no such file.
    """
    if 'backbone' not in model:
        raise ValueError(f'a {model.get("type", "model")} without a backbone has no features: give the config of a Pretrainer or '
                         'a ClipClassifier')
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = MODELS.build({key: value for key, value in model['backbone'].items() if key != 'init_cfg'})
    if checkpoint is not None:
        _load(backbone, checkpoint)
    preprocessor = MODELS.build(model.get('data_preprocessor') or dict(type='ClipPreprocessor'))
    return FrozenEncoder(backbone, preprocessor, _tokenizer_of(model, backbone, tokenizer))


def _load(backbone: Backbone, checkpoint: str | Path) -> None:
    weights = read_weights(checkpoint).tensors
    own = {name.removeprefix(PREFIX): value for name, value in weights.items() if name.startswith(PREFIX)}
    try:
        backbone.load_state_dict(own or weights)
    except (RuntimeError, ValueError) as error:  # torch's, and the backbone's own
        raise ValueError(f'{checkpoint} does not fit the backbone of the config. {error}') from error


def _tokenizer_of(model: Mapping, backbone: Backbone, file: str | Path | None) -> Tokenizer | None:
    if file is not None and backbone.reads == 'pixels':
        raise ValueError(f'{type(backbone).__name__} reads pixels: leave out the tokenizer {file}')
    if file is not None:
        return load_tokenizer(file)
    config = model.get('tokenizer') if backbone.reads == 'tokens' else None
    if config and 'type' not in config:  # a Pretrainer's, by name: the first is the one that is read
        config = next(iter(config.values()))
    return MODELS.build(config) if config else None
