"""What passes between the parts of ssvideo.

Shape legend, used by every docstring and comment of the package:

    B        videos in a batch
    V        views (clips) of each video
    N        clips, V * B, view-major: clip i and clip i + B show the same video
    T, H, W  frames, and pixels of height and width
    t, h, w  the token grid
    C        channels
    P        masked positions in the whole batch
    PAD      the token with no video behind it
"""
from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

PAD = -1
"""Token id of a position with no video behind it. Embedding tables translate it; it is never a target."""


@dataclass
class Clips:
    """The clips of one stream, on the device of the model.

    Args:
        frames: ``(N, 3, T, H, W)`` uint8 RGB as decoded; the views for backbone and tokenizer are made from it.
        pixels: ``(N, 3, T, H, W)`` float, normalised for the backbone.
        tokens: ``(N, t, h, w)`` int64 from a token store; ``PAD`` allowed.
        pad: ``(N, t, h, w)`` bool *on the host*, True where ``tokens`` is ``PAD``; ``None`` where nothing is padded.
            Masks are drawn on the host, and asking the device would stop it.
        num_views: V.
    """
    frames: Tensor | None = None
    pixels: Tensor | None = None
    tokens: Tensor | None = None
    pad: Tensor | None = None
    num_views: int = 1


@dataclass
class Features:
    """What a backbone makes of clips.

    Args:
        maps: fine to coarse, un-normalised, each ``(N, t_i, h_i, w_i, C_i)``.
        summary: ``(N, C)``, one vector per clip: [CLS], or the mean of the normalised last map.
        compared: ``(M, N, C)``, the summaries of M batches that are compared together, of which this is one; the
            gradient flows into this batch's and is M times as large, because the M parts of it are averaged.
            ``None`` where the batch of this step is compared alone.
    """
    maps: tuple[Tensor, ...]
    summary: Tensor
    compared: Tensor | None = None


@dataclass
class ComparedBatches:
    """M batches that are compared together, though each is encoded in a step of its own (or by another process).

    Args:
        summaries: ``(M, N, C)`` without gradient, by stream and by ``Objective.inputs``.
        place: which of the M is the batch of this step.
    """
    summaries: dict[tuple[str, str], Tensor]
    place: int


@dataclass
class MaskedTokens:
    """What an objective has to predict.

    Args:
        tokens: ``(N, t, h, w)`` int64, or ``(N, t, h, w, C)`` float for continuous targets. ``None`` where no
            tokenizer or store provides targets (a purely contrastive model). Frames in which nothing is masked may
            hold ``PAD`` (0 where continuous): they were not tokenized.
        mask: ``(N, t, h, w)`` bool, True = hidden.
        positions: ``(P,)`` int64 indices of True in ``mask.flatten()``, known on the host when the mask is drawn, so
            that heads select with ``index_select`` and never wait for the device.
        num_views: V.
    """
    tokens: Tensor | None
    mask: Tensor
    positions: Tensor
    num_views: int = 1
