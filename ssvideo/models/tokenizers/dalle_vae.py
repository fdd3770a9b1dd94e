"""Trains DALL-E's discrete variational auto-encoder; what comes out is a ``DalleTokenizer``."""
from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from mmengine.dist import broadcast
from mmengine.logging import MessageHub
from torch import Tensor

from ...registry import MODELS
from ..layers.dalle_blocks import DalleDecoder, DalleEncoder, picture_of, squeeze_range
from .codebook_signals import codebook_signals
from .dalle_checkpoint import save_dalle
from .trainer import TokenizerTrainer

SUBPIXELS_PER_TOKEN = 3 * 8 * 8
SMALLEST_LOG_SCALE = -5.0  # half a grey level of 8 bits, at middle grey: log(0.5 * 0.8 / 255 / 0.25)


@MODELS.register_module()
class DalleVAE(TokenizerTrainer):
    """Learns a vocabulary of 8 x 8 pixel patches by rebuilding pictures through a Gumbel softmax. Every frame is one.

    The loss is the negative evidence lower bound per colour value: a logit-Laplace likelihood of the pixels plus the
    weighted divergence of the posterior from the uniform prior. Small models on short schedules soon use few ids; two
    additions keep them all in use: ``codebook_init='data'`` and ``usage_weight``.

    Args:
        vocab_size: number of ids.
        hidden_dims: width of the outermost groups of encoder and decoder.
        num_blocks: residual blocks per group (four groups each).
        input_dims: width of the decoder's embedding of an id.
        temperature: of the relaxation, at the start and at the end; cosine between.
        temperature_iters: iterations from the first to the second (published: 150,000); ``None``: four fifths of the
            training.
        kl_weight: final weight of the divergence (beta); it rises from 0.
        kl_iters: iterations of that rise (published: 5,000); ``None``: a tenth of the training.
        usage_weight: weight of the divergence of a batch's *mean* posterior from uniform, in the scale of the loss;
            0 as published.
        codebook_init: ``'data'`` makes every id stand for one patch of the first batch, as VQ codebooks are set from
            data; ``'random'`` as published.
        data_preprocessor: config; a ``ClipPreprocessor`` that does not normalise by default.
        init_cfg: mmengine's.

    Raises:
        ValueError: for a schedule or an initialisation that does not exist.

    Source: DALL-E, arXiv:2102.12092, Sec. 2.1 and App. A.2, A.3; defaults are its values.
    """
    stride = 8

    def __init__(self, vocab_size: int, hidden_dims: int, num_blocks: int = 2, input_dims: int = 128,
                 temperature: tuple[float, float] = (1.0, 1 / 16), temperature_iters: int | None = None,
                 kl_weight: float = 6.6, kl_iters: int | None = None, usage_weight: float = 0.0,
                 codebook_init: Literal['data', 'random'] = 'data',
                 data_preprocessor: dict | None = None, init_cfg: dict | None = None) -> None:
        super().__init__(data_preprocessor, init_cfg)
        if len(temperature) != 2 or min(temperature) <= 0:
            raise ValueError(f'DalleVAE: temperature must be two positive numbers (start, end), got {temperature}')
        if min(temperature_iters or 1, kl_iters or 1) < 1:
            raise ValueError('DalleVAE: temperature_iters and kl_iters must be at least 1 or None, got '
                             f'{temperature_iters} and {kl_iters}')
        if codebook_init not in ('data', 'random'):
            raise ValueError(f"DalleVAE: codebook_init must be 'data' or 'random', got {codebook_init!r}")
        self.encoder = DalleEncoder(hidden_dims, num_blocks, vocab_size)
        self.decoder = DalleDecoder(hidden_dims, num_blocks, vocab_size, input_dims)
        self.vocab_size = vocab_size
        self.temperature = tuple(temperature)
        self.temperature_iters = temperature_iters
        self.kl_weight = kl_weight
        self.kl_iters = kl_iters
        self.usage_weight = usage_weight
        self.register_buffer('codebook_is_set', torch.tensor(codebook_init == 'random'))
        self._codebook_is_set = codebook_init == 'random'  # the same on the host: the device is asked once
        self.to(memory_format=torch.channels_last)

    def loss(self, pictures: Tensor) -> dict[str, Tensor]:
        """The two terms of the bound, and the signals of a healthy codebook.

        Args:
            pictures: ``(M, 3, H, W)`` in [0, 1].

        Returns:
            ``loss_pixels`` (may be negative: it is a density), ``loss_kl`` and ``loss_usage``; ``psnr`` of the relaxed
            reconstruction in dB, ``codebook_perplexity`` and ``codebook_use`` (share of the ids) of this batch.
        """
        self._set_codebook_once(pictures)
        temperature, kl_weight = self.schedule()
        target = squeeze_range(pictures)
        logits = self.encoder(target).float()
        outputs = self.decoder(F.gumbel_softmax(logits, tau=temperature, dim=1)).float()
        divergence, usage = self.divergences(logits)
        return dict(
            loss_pixels=logit_laplace_nll(outputs, target).mean(),
            loss_kl=divergence * (kl_weight / SUBPIXELS_PER_TOKEN),
            loss_usage=usage * self.usage_weight,
            kl=divergence.detach(),
            psnr=-10 * F.mse_loss(picture_of(outputs.detach()), pictures).log10(),
            temperature=torch.tensor(temperature),
            **codebook_signals(logits.detach().argmax(1), self.vocab_size))

    def schedule(self) -> tuple[float, float]:
        """Temperature and weight of the divergence at this iteration of the running training."""
        start, end = self.temperature
        temperature = end + (start - end) * _cosine(_progress(self.temperature_iters, share=0.8))
        return temperature, self.kl_weight * (1 - _cosine(_progress(self.kl_iters, share=0.1)))

    def divergences(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """KL(posterior, uniform), mean over the tokens; and KL(mean posterior, uniform). In nats.

        Args:
            logits: ``(M, vocab_size, h, w)``.
        """
        log_posterior = logits.log_softmax(1)
        posterior = log_posterior.exp()
        mean_posterior = posterior.mean((0, 2, 3))
        log_mean = mean_posterior.clamp_min(1e-20).log()  # an id may have no probability at all, in float32
        most = math.log(self.vocab_size)
        return (posterior * log_posterior).sum(1).mean() + most, (mean_posterior * log_mean).sum() + most

    def tokenize(self, pictures: Tensor) -> Tensor:
        """``(M, 3, H, W)`` in [0, 1] -> ``(M, H / 8, W / 8)`` int64."""
        return self.encoder(squeeze_range(pictures)).argmax(1)

    def decode(self, tokens: Tensor) -> Tensor:
        """``(M, h, w)`` int64 -> ``(M, 3, 8 h, 8 w)`` in [0, 1]."""
        return picture_of(self.decoder.from_embedding(self.decoder.embed(tokens)).float())

    def save_tokenizer(self, path: str | Path) -> None:
        """Write the file that ``DalleTokenizer(checkpoint=path)`` reads."""
        save_dalle(path, self.encoder, self.decoder)

    def _set_codebook_once(self, pictures: Tensor) -> None:
        if self._codebook_is_set:
            return
        if not self.codebook_is_set.item():  # a checkpoint may have been loaded since
            set_codebook_from_data(self.encoder, self.decoder, pictures)
            for weight in self.encoder.head.parameters():
                broadcast(weight.data)
            self.codebook_is_set.fill_(True)
        self._codebook_is_set = True


def logit_laplace_nll(outputs: Tensor, target: Tensor) -> Tensor:
    """Negative log density of the logit-Laplace distribution, whose support is (0, 1) as a pixel's.

    The scale has a soft floor: where pictures are plain, such as black bars, the density of 8-bit values has no bound,
    and training would end in NaN.

    Args:
        outputs: ``(M, 6, H, W)``, location and log scale of each channel.
        target: ``(M, 3, H, W)`` in (0, 1).

    Returns:
        ``(M, 3, H, W)``, in nats.

    Source: DALL-E, arXiv:2102.12092, App. A.3.
    """
    location, log_scale = outputs.chunk(2, dim=1)
    log_scale = SMALLEST_LOG_SCALE + F.softplus(log_scale - SMALLEST_LOG_SCALE)
    distance = (torch.logit(target) - location).abs()
    return distance * (-log_scale).exp() + log_scale + (2 * target * (1 - target)).log()


@torch.no_grad()
def set_codebook_from_data(encoder: DalleEncoder, decoder: DalleDecoder, pictures: Tensor, spread: float = 6.0) -> None:
    """Make id k stand for the features of one random patch: its logit is their cosine with a patch's features.

    Every chosen patch is thus nearest to its own id, and all ids are in use.

    Args:
        encoder: its ``head`` is overwritten.
        decoder: its ``stem`` is scaled such that a one-hot id makes values of unit variance, as soft ids of random
            logits would not.
        pictures: ``(M, 3, H, W)`` in [0, 1], with ``vocab_size`` patches or, better, some times that.
        spread: standard deviation of a patch's logits over the ids; 6 makes the likeliest of 256 ids 40 % likely.
    """
    features = []
    hook = encoder.head.register_forward_pre_hook(lambda _, args: features.append(args[0]))
    encoder(squeeze_range(pictures))
    hook.remove()
    features = features[0].float().permute(0, 2, 3, 1).flatten(0, 2)  # (tokens, C)
    mean, std = features.mean(0), features.std(0) + 1e-3 * features.std()
    features = (features - mean) / std
    wanted = torch.arange(encoder.head.out_channels, device=features.device)
    codes = F.normalize(features[torch.randperm(len(features), device=features.device)[wanted % len(features)]])
    logits = features @ codes.T
    weight = codes / std * (spread / (logits - logits.mean(1, keepdim=True)).std())
    encoder.head.weight.copy_(weight[:, :, None, None])
    encoder.head.bias.copy_(-weight @ mean)
    decoder.stem.weight.div_(decoder.stem.weight.std())


def _progress(iterations: int | None, share: float) -> float:
    """How far a schedule is that takes so many iterations, or that share of the training."""
    hub = MessageHub.get_current_instance()
    iteration = hub.get_info('iter', 0)
    if iterations is None:
        total = hub.get_info('max_iters')
        if iteration and not total:
            raise ValueError('DalleVAE: the length of the training is not known; give temperature_iters and kl_iters')
        iterations = share * (total or 1)
    return iteration / iterations


def _cosine(progress: float) -> float:
    """From 1 to 0 as progress goes from 0 to 1."""
    return 0.5 + 0.5 * math.cos(math.pi * min(progress, 1.0))
