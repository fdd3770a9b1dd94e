"""Trains PeCo's vector-quantised auto-encoder; what comes out is a ``PecoTokenizer``."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from mmengine.dist import get_world_size
from torch import Tensor
from vector_quantize_pytorch import VectorQuantize

from ...registry import MODELS
from ..layers.nearest_codes import nearest_codes
from ..layers.peco_blocks import PecoDecoder, PecoEncoder
from ..layers.perceptual import PerceptualNetwork
from .codebook_signals import codebook_signals, num_dead_codes
from .peco_checkpoint import save_peco
from .trainer import TokenizerTrainer

PIXEL_DISTANCES = dict(l1=F.l1_loss, l2=F.mse_loss)


@MODELS.register_module()
class PecoVQVAE(TokenizerTrainer):
    """Learns codes for squares of pixels by rebuilding pictures such that they look alike to a trained network.

    Features of the encoder are replaced by their nearest codes; gradients pass straight through. The codes are moving
    averages of the features that they replaced: ``N = decay N + (1 - decay) n`` and ``m = decay m + (1 - decay) sum z``,
    over all processes, make the code ``m / N``. Build the model after the processes have joined, as a runner does.

    Args:
        perceptual: arguments of the :class:`PerceptualNetwork`; ``None`` for the plain VQ-VAE.
        vocab_size: number of codes.
        code_dims: width of a code.
        widths: channels of the encoder's stages, whose number makes the stride: 16 with five.
        num_blocks: residual blocks of a stage.
        attention: self-attention at the smallest stage.
        pixel_distance: ``'l1'`` or ``'l2'`` (squared), of pixels in [0, 1].
        perceptual_weight: of the perceptual distance; 1 is lambda of the paper.
        commitment_weight: of the squared distance between features and their codes.
        code_distance: ``'euclidean'``, or ``'cosine'`` with features and codes of norm 1.
        decay: of the moving averages, per step.
        codebook_init: ``'kmeans'`` of the first batch's features, or ``'random'``.
        dead_code_threshold: a code that, by the moving average, gets fewer tokens a step (of all processes) is replaced
            by a feature of the batch. An even share is ``tokens of a batch / vocab_size``. 0 leaves dead codes dead.
        data_preprocessor: config; a ``ClipPreprocessor`` that does not normalise by default.
        init_cfg: mmengine's.

    Raises:
        ValueError: for a distance, an initialisation, a decay or a size that does not exist.

    Source: PeCo, arXiv:2111.12710; VQ-VAE, arXiv:1711.00937, Sec. 3 and App. A.1 (moving averages).
    """

    def __init__(self, perceptual: dict | None, vocab_size: int = 8192, code_dims: int = 256,
                 widths: Sequence[int] = (128, 128, 256, 256, 512), num_blocks: int = 2, attention: bool = True,
                 pixel_distance: Literal['l1', 'l2'] = 'l1', perceptual_weight: float = 1.0,
                 commitment_weight: float = 0.25, code_distance: Literal['euclidean', 'cosine'] = 'euclidean',
                 decay: float = 0.99, codebook_init: Literal['kmeans', 'random'] = 'kmeans',
                 dead_code_threshold: float = 0.1, data_preprocessor: dict | None = None,
                 init_cfg: dict | None = None) -> None:
        super().__init__(data_preprocessor, init_cfg)
        _check_choices(pixel_distance=(pixel_distance, PIXEL_DISTANCES), code_distance=(code_distance, ('euclidean', 'cosine')),
                       codebook_init=(codebook_init, ('kmeans', 'random')))
        if vocab_size < 1 or not 0 <= decay < 1 or dead_code_threshold < 0:
            raise ValueError('PecoVQVAE: vocab_size must be positive, decay in [0, 1), dead_code_threshold at least 0, got '
                             f'{vocab_size}, {decay} and {dead_code_threshold}')
        self.architecture = dict(widths=tuple(widths), num_blocks=num_blocks, code_dims=code_dims, attention=attention)
        self.encoder = PecoEncoder(**self.architecture)
        self.decoder = PecoDecoder(**self.architecture)
        self.stride = self.encoder.stride
        # a step makes the host wait for two flags of the library's (initialised? a dead code?)
        self.quantizer = VectorQuantize(
            code_dims, vocab_size, accept_image_fmap=True, use_cosine_sim=code_distance == 'cosine', decay=decay,
            kmeans_init=codebook_init == 'kmeans', threshold_ema_dead_code=dead_code_threshold,
            commitment_weight=commitment_weight, rotation_trick=False,  # straight through, as published
            sync_codebook=get_world_size() > 1)
        self.perceptual = None if perceptual is None else PerceptualNetwork(**perceptual)
        self.vocab_size = vocab_size
        self.pixel_distance = pixel_distance
        self.perceptual_weight = perceptual_weight
        self.dead_code_threshold = dead_code_threshold
        self.to(memory_format=torch.channels_last)

    @property
    def codebook(self) -> Tensor:
        """``(vocab_size, C)``; of norm 1 with the cosine."""
        return self.quantizer.codebook

    @property
    def cluster_sizes(self) -> Tensor:
        """``(vocab_size,)``, moving average of the tokens that each code gets in a step."""
        return self.quantizer._codebook.cluster_size[0]  # the library has no other name for it

    def loss(self, pictures: Tensor) -> dict[str, Tensor]:
        """The terms, and the signals of a healthy codebook; in training, the codes move.

        Args:
            pictures: ``(M, 3, H, W)`` in [0, 1].

        Returns:
            ``loss_pixels``, ``loss_commitment`` and ``loss_perceptual``, weighted; ``psnr`` in dB, ``codebook_perplexity``
            and ``codebook_use`` (share of the ids) of this batch, ``codebook_dead``, codes out of use over the window of
            the moving average.
        """
        features = self.encoder(pictures).float()
        with torch.autocast(features.device.type, enabled=False):
            codes, tokens, commitment = self.quantizer(features)
        rebuilt = self.decoder(codes).float()
        losses = dict(loss_pixels=PIXEL_DISTANCES[self.pixel_distance](rebuilt, pictures), loss_commitment=commitment)
        if self.perceptual is not None:
            losses['loss_perceptual'] = self.perceptual(rebuilt, pictures) * self.perceptual_weight
        return dict(
            **losses,
            psnr=-10 * F.mse_loss(rebuilt.detach().clamp(0, 1), pictures).log10(),
            codebook_dead=num_dead_codes(self.cluster_sizes, self.dead_code_threshold),
            **codebook_signals(tokens, self.vocab_size))

    def tokenize(self, pictures: Tensor) -> Tensor:
        """``(M, 3, H, W)`` in [0, 1] -> ``(M, H / stride, W / stride)`` int64."""
        return nearest_codes(self.encoder(pictures), self.codebook)

    def decode(self, tokens: Tensor) -> Tensor:
        """``(M, h, w)`` int64 -> ``(M, 3, stride h, stride w)`` in [0, 1]."""
        return self.decoder(F.embedding(tokens, self.codebook).permute(0, 3, 1, 2)).float().clamp(0, 1)

    def save_tokenizer(self, path: str | Path) -> None:
        """Write the file that ``PecoTokenizer(checkpoint=path)`` reads; the perceptual network is no part of it."""
        save_peco(path, self.architecture, self.encoder, self.decoder, self.codebook)


def _check_choices(**choices) -> None:
    for name, (value, known) in choices.items():
        if value not in known:
            raise ValueError(f'PecoVQVAE: {name} must be one of {sorted(known)}, got {value!r}')
