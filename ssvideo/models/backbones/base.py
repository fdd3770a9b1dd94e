"""The contract of a backbone."""
from __future__ import annotations

from abc import abstractmethod
from typing import Literal

from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor

from ...structures import Features


class Backbone(BaseModule):
    """Encodes clips, with some positions hidden in the backbone's own way.

    Weights load whole or not at all, whoever loads them (``load_from``, ``init_cfg=dict(type='Pretrained', ...)``, a
    resumed run): :meth:`adapt` fits them first, and a key that is then missing or left over is an error.

    Args:
        init_cfg: mmengine's; ``dict(type='Pretrained', checkpoint=FILE, prefix='backbone.')`` starts from the backbone
            of a checkpoint.

    Attributes:
        reads: which tensor the backbone is given, ``'pixels'`` or ``'tokens'``.
        channels: C of each map in ``Features.maps``.
        token_stride: frames, pixels and pixels per predicted token; with it a clip of pixels tells the token grid.
            ``None`` for a backbone that reads tokens.
        knows: which facts that save work :meth:`forward` also takes, by name, from a caller that knows them on the host:
            ``'whole'``, True where no token is PAD (no attention mask is needed then); ``'positions'``, ``(P,)`` int64
            indices into the flat ``(N, t, h, w)`` of all that anybody will read of the last map (the rest of it may be
            anything finite).
        pretraining_only: names (or prefixes) of parameters that only pre-training uses; fine-tuning freezes them.
        mask_on_host: whether ``forward`` wants its mask on the host, where it was drawn: a backbone that drops tokens must
            know how many are left, and asking the device would stop it.
    """
    reads: Literal['pixels', 'tokens']
    channels: tuple[int, ...]
    token_stride: tuple[int, int, int] | None = None
    knows: tuple[Literal['whole', 'positions'], ...] = ()
    pretraining_only: tuple[str, ...] = ()
    mask_on_host: bool = False

    def __init__(self, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.register_load_state_dict_pre_hook(_fit_weights)

    @abstractmethod
    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> Features:
        """Encode.

        Args:
            inputs: ``(N, 3, T, H, W)`` normalised pixels, or ``(N, t, h, w)`` int64 tokens with PAD allowed.
            mask: ``(N, t, h, w)`` bool on the token grid, True = hidden; or int8, see :meth:`Masker.sample`. PAD wins
                over a mask. ``None`` hides nothing.

        Returns:
            Features, masked positions included.
        """

    def adapt(self, state_dict: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
        """Fit weights of the same architecture at another grid, window or patch size to this model.

        Args:
            state_dict: weights with this backbone's own names.

        Returns:
            The fitted weights, and one line per tensor that was changed ("from what to what").
        """
        return state_dict, []


def _fit_weights(backbone: Backbone, state_dict: dict[str, Tensor], prefix: str, *args) -> None:
    given = {key[len(prefix):]: state_dict.pop(key) for key in list(state_dict) if key.startswith(prefix)}
    adapted, notes = backbone.adapt(given)
    name = type(backbone).__name__
    for note in notes:
        print_log(f'{name}: {note}', logger='current')
    expected = backbone.state_dict().keys()
    missing = {key for key in expected - adapted.keys() if not key.startswith(backbone.pretraining_only)}
    unexpected = adapted.keys() - expected
    if missing or unexpected:
        hint = ''
        if inner := {key.split('.')[0] for key in unexpected if key.split('.', 1)[-1] in expected}:
            hint = f" The names fit under {sorted(inner)}: give init_cfg a prefix, such as prefix='{min(inner)}.'."
        raise ValueError(f'{name}: these are not weights of this backbone: {len(missing)} missing '
                         f'({_first(missing)}), {len(unexpected)} unexpected ({_first(unexpected)}).{hint}')
    own = backbone.state_dict()
    for key in expected - adapted.keys():  # what only pre-training uses keeps its initial value
        adapted[key] = own[key]
    state_dict.update({prefix + key: value for key, value in adapted.items()})


def _first(names: set[str], num: int = 3) -> str:
    shown = ', '.join(sorted(names)[:num])
    return (shown + (', ...' if len(names) > num else '')) or 'none'
