"""Tell the other clip of the same video from all other clips."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...registry import MODELS
from ...structures import Features, MaskedTokens
from ..backbones.base import Backbone
from ..layers.gather import gather_stack
from ..tokenizers.base import Tokenizer
from .base import Objective


def info_nce(embeddings: Tensor, temperature: float) -> dict[str, Tensor]:
    """Contrast pairs of clips, in both directions, against all other clips.

    Args:
        embeddings: ``(2n, d)``, rows i and i + n show the same video; of any length, compared by cosine.
        temperature: divides the cosines.

    Returns:
        ``loss``: temperature x (L + L'); ``accuracy``: share of clips whose partner scores highest;
        ``positive_similarity`` and ``negative_similarity``: mean cosine of partners and of all others (0 where there are
        none), which meet where embeddings collapse. Computed in float32 at least.

    Source: VIMPAC, arXiv:2106.11250, Eqs. 4 to 6, 19 and 20.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        unit = F.normalize(embeddings.to(torch.promote_types(embeddings.dtype, torch.float32)), dim=1)
        scores = unit @ unit.t() / temperature  # (2n, 2n)
    clips = torch.arange(len(unit), device=unit.device)
    scores = scores.masked_fill(clips[:, None] == clips, float('-inf'))  # no clip is compared with itself
    partners = clips.roll(len(unit) // 2)
    both_directions = 2 * F.cross_entropy(scores, partners)  # each of L and L' is a mean over n clips
    accuracy = (scores.detach().argmax(dim=1) == partners).to(scores.dtype).mean()
    return {'loss': temperature * both_directions, 'accuracy': accuracy, **similarities(unit.detach())}


def similarities(unit: Tensor) -> dict[str, Tensor]:
    """Mean cosines ``positive_similarity`` and ``negative_similarity`` of ``(2n, d)`` unit vectors in n pairs."""
    num_clips = len(unit)
    positive = (unit * unit.roll(num_clips // 2, 0)).sum()
    others = unit.sum(0).square().sum() - unit.square().sum() - positive  # all pairs, without itself and its partner
    return {'positive_similarity': positive / num_clips,
            'negative_similarity': others / max(num_clips * (num_clips - 2), 1)}


@MODELS.register_module()
class InfoNCE(Objective):
    """Contrast of two clips of each video, over all processes.

    In training the clips' summaries, not their projections, are gathered, and every process projects them all. Plain
    batch norm then sees the whole batch and stays equal on all processes; the gradient is that of one process with
    the whole batch (see :func:`gather_stack`). Every process needs the same number of clips. In evaluation a process
    contrasts its own clips.

    With ``num_pairs`` the same holds for the batches of several steps, whatever their size: a loss over all of them
    needs the summaries of all before the first backward pass. ``StreamTrainLoop`` encodes these batches twice, once
    without a gradient (:class:`~ssvideo.structures.ComparedBatches`). The projector's running statistics, which only
    evaluation reads, then move once for each batch.

    Args:
        backbone: its last ``channels`` are the width of ``Features.summary``; see :class:`Objective`.
        tokenizer: not used.
        temperature: of the softmax; it multiplies the loss, too.
        num_layers: linear layers of the projector; batch norm and ReLU between them, neither bias nor norm at its end.
        hidden_dims: hidden width of the projector.
        out_dims: width that is contrasted.
        weight: the paper's alpha; 0.5 to 1 (Table 16).
        num_pairs: the paper's n, pairs contrasted at once: a multiple of batch size x processes, and a divisor of the
            pairs of an optimiser step. ``None``: batch size x processes.
        inputs: features of masked (the paper's choice) or of clean clips (Table 8).
        target: not used.
        streams: streams to serve, each of two views.
        loss_weight: factor of the loss, as every objective has it.

    Raises:
        ValueError: if ``num_layers``, ``temperature`` or ``num_pairs`` is not positive.

    Source: VIMPAC, arXiv:2106.11250, Sec. 3.2, App. A.2, B.2 and C.
    """

    positions_only = True

    def __init__(self, backbone: Backbone, tokenizer: Tokenizer | None = None, temperature: float = 0.2,
                 num_layers: int = 3, hidden_dims: int = 4096, out_dims: int = 256, weight: float = 1.0,
                 num_pairs: int | None = None,
                 inputs: Literal['masked', 'clean'] = 'masked', target: str | None = None,
                 streams: Sequence[str] | None = None, loss_weight: float = 1.0) -> None:
        super().__init__(backbone, tokenizer, inputs=inputs, target=target, streams=streams, loss_weight=loss_weight)
        if num_layers < 1:
            raise ValueError(f'InfoNCE: num_layers must be at least 1, got {num_layers}')
        if temperature <= 0:
            raise ValueError(f'InfoNCE: temperature must be positive, got {temperature}')
        if num_pairs is not None and num_pairs < 1:
            raise ValueError(f'InfoNCE: num_pairs must be positive, or None for what a batch holds; got {num_pairs}')
        self.num_pairs = num_pairs
        self.temperature = temperature
        self.weight = weight
        self.projector = build_projector(backbone.channels[-1], num_layers, hidden_dims, out_dims)

    def forward(self, features: Features, masked: MaskedTokens) -> dict[str, Tensor]:
        """Return ``loss``, ``accuracy`` and similarities; see :func:`info_nce`.

        Raises:
            ValueError: if the clips are not two views of each video.
        """
        if masked.num_views != 2:
            raise ValueError(f'InfoNCE contrasts two clips of each video, but this stream has {masked.num_views} '
                             'view(s); draw two clips, or name the streams to serve with streams=(...)')
        summaries = self._everyone(features).unflatten(1, (2, -1)).transpose(0, 1)  # (2, M, B, C)
        terms = info_nce(self.projector(summaries.flatten(0, 2)), self.temperature)
        return terms | {'loss': self.weight * terms['loss']}

    def _everyone(self, features: Features) -> Tensor:
        """``(M, N, C)``: the summaries to compare, of M processes or steps."""
        if features.compared is not None:
            return features.compared
        return gather_stack(features.summary) if self.training else features.summary.unsqueeze(0)


def build_projector(in_dims: int, num_layers: int, hidden_dims: int, out_dims: int) -> nn.Sequential:
    """An MLP with batch norm and ReLU between its layers, and neither bias nor norm at its end."""
    layers = []
    for _ in range(num_layers - 1):
        layers += [nn.Linear(in_dims, hidden_dims), nn.BatchNorm1d(hidden_dims), nn.ReLU(inplace=True)]
        in_dims = hidden_dims
    layers.append(nn.Linear(in_dims, out_dims, bias=False))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.02)  # BERT, as the authors' code
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)
