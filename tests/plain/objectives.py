"""Losses as their papers state them: logits of every position, then those that are needed."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ssvideo.models.decoders.swin_decoder import DecoderBranch
from ssvideo.models.objectives import MLM, MVM, InfoNCE
from ssvideo.structures import Features, MaskedTokens


class PlainMLM(MLM):
    """Scores all ids at all positions.

    Source: VIMPAC, arXiv:2106.11250, Sec. 3.1, Eqs. 16 and 17.
    """

    def forward(self, features: Features, masked: MaskedTokens) -> dict[str, Tensor]:
        """See :meth:`Objective.forward`."""
        return _cross_entropy(F.linear(self.transform(features.maps[-1]), self.embedding, self.bias), masked)


class PlainMVM(MVM):
    """Decodes by transposed convolutions, and scores all ids at all positions.

    Source: BEVT, arXiv:2112.01529, Sec. 3, Fig. 3, Eqs. 3 to 5.
    """

    def forward(self, features: Features, masked: MaskedTokens) -> dict[str, Tensor]:
        """See :meth:`Objective.forward`."""
        t, h, w = masked.mask.shape[1:]
        decoded = _decode(self.decoder.branches['image' if t == 1 else 'video'], *features.maps[-2:])
        return _cross_entropy(self.classifier(self.norm(decoded[:, :t, :h, :w])), masked)


class PlainInfoNCE(InfoNCE):
    """Scores every clip's partner and its negatives one clip at a time.

    Source: VIMPAC, arXiv:2106.11250, Sec. 3.2, Eqs. 4 to 6.
    """

    def forward(self, features: Features, masked: MaskedTokens) -> dict[str, Tensor]:
        """See :meth:`Objective.forward`."""
        projected = self.projector(features.summary)
        unit = projected / projected.norm(dim=1, keepdim=True)
        half, losses = len(unit) // 2, []
        for clip in range(len(unit)):
            scores = torch.stack([unit[clip] @ unit[other] for other in range(len(unit)) if other != clip])
            partner = (clip + half) % len(unit)
            place = partner - (partner > clip)
            losses.append(torch.logsumexp(scores / self.temperature, 0) - scores[place] / self.temperature)
        loss = torch.stack(losses[:half]).mean() + torch.stack(losses[half:]).mean()
        return {'loss': self.weight * self.temperature * loss}


def _cross_entropy(logits: Tensor, masked: MaskedTokens) -> dict[str, Tensor]:
    chosen, targets = logits[masked.mask], masked.tokens[masked.mask]
    return {'loss': F.cross_entropy(chosen, targets), 'accuracy': (chosen.argmax(-1) == targets).float().mean()}


def _decode(branch: DecoderBranch, fine: Tensor, coarse: Tensor) -> Tensor:
    upsampled = branch.upsample(coarse.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)
    fused = branch.fuse(torch.cat((fine, upsampled[:, :, :fine.shape[2], :fine.shape[3]]), -1))
    if branch.temporal_upsample is None:
        return fused
    return branch.temporal_upsample(fused.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)
