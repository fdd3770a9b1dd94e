"""THE composition: masker, tokenizer, backbone, objectives, said once for every method. Read this first."""
from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from mmengine.dist import get_rank
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from torch import Tensor, nn

from ..registry import MODELS
from ..structures import PAD, Clips, ComparedBatches, Features, MaskedTokens
from .backbones.base import Backbone
from .layers.gather import put_live
from .layers.resize_pixels import resize_pixels
from .objectives.base import Objective
from .tokenizers.base import Tokenizer

Grid = tuple[int, int, int]
STORED = 'stored'
"""Name of the tokens that a batch brings, where no tokenizer is configured."""


@MODELS.register_module()
class Pretrainer(BaseModel):
    """Masked pre-training on named streams of clips.

    For each stream the masker hides positions of the token grid, the tokenizer makes the targets, the backbone encodes
    the clips with those positions hidden, and the objectives turn features and targets into losses.

    Args:
        backbone: config of a :class:`Backbone`.
        maskers: config of a masker for each stream; its keys are the streams there are.
        objectives: configs by name; an objective serves every stream unless its ``streams`` names some.
        tokenizer: config of a :class:`Tokenizer`, or of several by name (an objective's ``target`` then names its
            own, the first being the default). ``None`` where every batch brings tokens from a store.
        stream_weights: factor of each stream's losses, 1 where not given.
        data_preprocessor: config; a ``ClipPreprocessor`` that does not normalise by default.
        init_cfg: mmengine's.

    Attributes:
        watchers: functions ``(stream, features, targets)`` that :meth:`loss` shows what it hands to the objectives, for a
            hook that logs; they change nothing and do not make the host wait.

    Raises:
        ValueError: for a part that names a stream, a target or a tokenizer that does not exist.
    """

    def __init__(self, backbone: dict, maskers: dict[str, dict], objectives: dict[str, dict],
                 tokenizer: dict | None = None, stream_weights: dict[str, float] | None = None,
                 data_preprocessor: dict | None = None, init_cfg: dict | None = None) -> None:
        super().__init__(MODELS.build(data_preprocessor or dict(type='ClipPreprocessor')), init_cfg)
        self.backbone: Backbone = MODELS.build(backbone)
        self.maskers = {stream: MODELS.build(masker) for stream, masker in maskers.items()}
        self.tokenizers = self._build_tokenizers(tokenizer)
        self.objectives = nn.ModuleDict({name: self._build_objective(name, cfg) for name, cfg in objectives.items()})
        self.stream_weights = dict.fromkeys(maskers, 1.0) | dict(stream_weights or {})
        self._check_streams()
        self.watchers: list[Callable[[str, dict[str, Features], dict[str, MaskedTokens]], None]] = []
        self._num_losses = 0
        self._compared: ComparedBatches | None = None
        self.register_state_dict_post_hook(_drop_tokenizers)
        self.register_load_state_dict_pre_hook(_keep_own_tokenizers)

    # ------------------------------------------------------------------------------------------------ the one flow

    def loss(self, batch: Mapping[str, Clips]) -> dict[str, Tensor]:
        """Losses and metrics of a batch, ``<stream>_<objective>_<term>``; mmengine sums those that contain "loss"."""
        losses = {}
        for stream, clips in batch.items():
            mask = self.draw_mask(stream, clips)
            targets = self.tokenize(stream, clips, mask)
            features = self.encode(stream, clips, targets, mask)
            losses.update(self._join_compared(stream, features))
            for watch in self.watchers:
                watch(stream, features, targets)
            for name, objective in self.objectives_of(stream):
                terms = objective(features[objective.inputs], targets[objective.target or self.default_target])
                losses.update(self.named(stream, name, terms))
            losses[f'{stream}_mask_ratio'] = (mask != 0).float().mean()
        return losses

    def draw_mask(self, stream: str, clips: Clips) -> Tensor:
        """``(N, t, h, w)`` on the host, bool or int8; see :class:`~ssvideo.models.maskers.base.Masker`.

        Raises:
            ValueError: for a stream without a masker.
        """
        if stream not in self.maskers:
            raise ValueError(f'the batch brings the stream {stream!r}, but there are maskers for '
                             f'{sorted(self.maskers)} only: add maskers=dict({stream}=...) to the model')
        num_clips = len(clips.tokens if clips.tokens is not None else clips.frames)
        return self.maskers[stream](self.token_grid(clips), num_clips, self.rng(stream), clips.pad)

    def tokenize(self, stream: str, clips: Clips, mask: Tensor, everywhere: bool = False) -> dict[str, MaskedTokens]:
        """The targets by name: from each tokenizer that is asked for, but that tokens of the batch stand for the default's.

        Frames in which nothing is masked are left out unless ``everywhere`` or the backbone needs them.
        """
        hidden = mask != 0
        device = _device_of(clips)
        shared = dict(mask=_to(hidden, device), positions=_to(_positions(mask), device), num_views=clips.num_views)
        found = {}
        if clips.tokens is not None or not self.tokenizers:
            found[self.default_target] = clips.tokens
        everywhere = everywhere or self.backbone.reads == 'tokens'
        for name in self.targets_of(stream):
            if name not in found:
                found[name] = self._targets(self.tokenizers[name], clips, hidden, everywhere)
        return {name: MaskedTokens(tokens=tokens, **shared) for name, tokens in found.items()}

    def encode(self, stream: str, clips: Clips, targets: dict[str, MaskedTokens], mask: Tensor) -> dict[str, Features]:
        """Features with the masked positions hidden (``'masked'``), and without (``'clean'``) where somebody asks."""
        inputs = clips.pixels if self.backbone.reads == 'pixels' else targets[self.default_target].tokens
        if inputs is None:
            raise ValueError(f'{type(self.backbone).__name__} reads {self.backbone.reads}, and the stream {stream!r} '
                             'brings none: give ClipPreprocessor mean and std (pixels), or a tokenizer or store (tokens)')
        features = {}
        for kind in ('masked', 'clean'):
            readers = [objective for _, objective in self.objectives_of(stream) if objective.inputs == kind]
            if readers:
                hidden = None if kind == 'clean' else mask if self.backbone.mask_on_host else _to(mask, inputs.device)
                features[kind] = self.backbone(inputs, hidden, **self._known(clips, mask, readers))
        return features

    def _known(self, clips: Clips, mask: Tensor, readers: list[Objective]) -> dict:
        """What the backbone may be told, see ``Backbone.knows``."""
        known = {}
        if 'whole' in self.backbone.knows and clips.pad is None:
            known['whole'] = True
        if 'positions' in self.backbone.knows and all(objective.positions_only for objective in readers):
            known['positions'] = _to(_positions(mask), _device_of(clips))
        return known

    def named(self, stream: str, name: str, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """Prefix an objective's terms and weigh its loss."""
        weight = self.stream_weights[stream] * self.objectives[name].loss_weight
        terms = terms | dict(loss=terms['loss'] * weight)
        return {f'{stream}_{name}_{term}': value for term, value in terms.items()}

    # --------------------------------------------------------------------- objectives that compare more than a batch

    @torch.no_grad()
    def summarize(self, batch: Mapping[str, Clips]) -> dict[tuple[str, str], Tensor]:
        """The summaries ``(N, C)`` that objectives with ``num_pairs`` compare, by stream and ``Objective.inputs``.

        All streams are encoded as :meth:`loss` encodes them, so that dropout draws the same from the same seed.
        """
        found = {}
        for stream, clips in batch.items():
            mask = self.draw_mask(stream, clips)
            targets = self.tokenize(stream, clips, mask) if self.backbone.reads == 'tokens' else {}
            features = self.encode(stream, clips, targets, mask)
            kinds = {objective.inputs for _, objective in self.objectives_of(stream) if objective.num_pairs}
            found |= {(stream, kind): features[kind].summary for kind in kinds}
        return found

    @contextmanager
    def comparing(self, batches: ComparedBatches) -> Iterator[None]:
        """Within this context a batch's clips are compared with those of the other ``batches``, too."""
        self._compared = batches
        try:
            yield
        finally:
            self._compared = None

    def _join_compared(self, stream: str, features: dict[str, Features]) -> dict[str, Tensor]:
        """Fill in ``Features.compared``; ``cache_error`` is 0 while both encodings of a clip are the same."""
        metrics = {}
        for kind, found in features.items():
            if self._compared and (stream, kind) in self._compared.summaries:
                cached, place = self._compared.summaries[stream, kind], self._compared.place
                found.compared = put_live(found.summary, cached, place)
                metrics[f'{stream}_cache_error'] = (found.summary.detach() - cached[place]).abs().max()
        return metrics

    # ------------------------------------------------------------------------------------------- what the flow asks

    @property
    def default_target(self) -> str:
        """Name of the tokenizer that objectives without a ``target`` learn from."""
        return next(iter(self.tokenizers), STORED)

    def objectives_of(self, stream: str) -> Iterator[tuple[str, Objective]]:
        """The objectives that serve a stream, by name."""
        return ((name, objective) for name, objective in self.objectives.items()
                if objective.streams is None or stream in objective.streams)

    def targets_of(self, stream: str) -> list[str]:
        """Names of the tokenizers whose tokens a stream needs."""
        needed = {objective.target or self.default_target for _, objective in self.objectives_of(stream)}
        if self.backbone.reads == 'tokens':
            needed.add(self.default_target)
        return [name for name in self.tokenizers if name in needed]

    def vocab_size_of(self, target: str) -> int | None:
        """Number of ids of a target; ``None`` where it is continuous, or nobody says."""
        if target in self.tokenizers:
            return self.tokenizers[target].vocab_size
        sizes = (getattr(part, 'vocab_size', None) for part in (self.backbone, *self.objectives.values()))
        return next((size for size in sizes if size is not None), None)

    def token_grid(self, clips: Clips) -> Grid:
        """``(t, h, w)``: of the tokens that the batch brings, else of the pixels by the backbone's or tokenizer's stride.

        Raises:
            ValueError: if the clip does not divide by the stride, or the tokens that it brings are of another grid.
        """
        stored = None if clips.tokens is None else tuple(clips.tokens.shape[1:])
        stride = self.backbone.token_stride
        if stored and (stride is None or clips.frames is None):
            return stored
        if stride is None:
            if not self.tokenizers:
                raise ValueError('the batch brings neither tokens nor a way to make them: configure a tokenizer or '
                                 'read clips from a token store')
            stride = self.tokenizers[self.default_target].stride
        frames, height, width = clips.frames.shape[2:]
        stride = (1 if frames == 1 else stride[0], *stride[1:])
        if frames % stride[0] or height % stride[1] or width % stride[2]:
            raise ValueError(f'clips of {frames} x {height} x {width} (T, H, W) do not divide by the token stride '
                             f'{stride}: change the clip length or the crop')
        grid = frames // stride[0], height // stride[1], width // stride[2]
        if stored not in (None, grid):
            raise ValueError(f'the batch brings tokens of a grid {stored} (t, h, w), but {type(self.backbone).__name__} '
                             f'predicts {grid} for clips of {frames} x {height} x {width}: use a store of another view')
        return grid

    def rng(self, stream: str) -> random.Random:
        """Randomness of this step's masks: a function of (seed, rank, iteration, stream) and nothing else."""
        hub = MessageHub.get_current_instance()
        iteration = hub.get_info('iter', None) if self.training else None
        if iteration is None:  # not in a training loop
            iteration, self._num_losses = f'free-{self._num_losses}', self._num_losses + 1
        return random.Random(f"{hub.get_info('seed', 0)}/{get_rank()}/{iteration}/{stream}")

    def _targets(self, tokenizer: Tokenizer, clips: Clips, hidden: Tensor, everywhere: bool) -> Tensor:
        """Tokens of one tokenizer; where frames are independent, only of those that hold a masked token."""
        grid, frames = tuple(hidden.shape[1:]), clips.frames
        span = 1 if frames.shape[2] == 1 else tokenizer.stride[0]
        if frames.shape[2] != grid[0] * span:
            raise ValueError(f'{type(tokenizer).__name__} makes one token frame of {span} frames, so {grid[0]} token '
                             f'frames need {grid[0] * span} frames, got {frames.shape[2]}')
        size = grid[1] * tokenizer.stride[1], grid[2] * tokenizer.stride[2]
        needed = hidden.flatten(2).any(2)  # (N, t), on the host
        if everywhere or not tokenizer.independent_frames or needed.all():
            return _tokens_of(tokenizer, frames, size)
        where = _to(needed.nonzero(), frames.device).unbind(1)  # K clips and their K token frames
        found = _tokens_of(tokenizer, frames.unflatten(2, (grid[0], span)).transpose(1, 2)[where], size).squeeze(1)
        everything = found.new_full((*needed.shape, *found.shape[1:]), PAD if tokenizer.vocab_size else 0)
        return everything.index_put(where, found)

    # ---------------------------------------------------------------------------------------------------- mmengine

    def forward(self, inputs: Mapping[str, Clips], data_samples: list | None = None, mode: str = 'tensor'):
        """mmengine's entry.

        Args:
            inputs: clips by stream.
            data_samples: not used.
            mode: ``'loss'`` for :meth:`loss`; ``'tensor'`` for the unmasked features of each stream.

        Raises:
            ValueError: for another mode.
        """
        if mode == 'loss':
            return self.loss(inputs)
        if mode == 'tensor':
            return {stream: self.backbone(self._plain_inputs(stream, clips)) for stream, clips in inputs.items()}
        raise ValueError(f"Pretrainer.forward: mode must be 'loss' or 'tensor', got {mode!r}")

    def _plain_inputs(self, stream: str, clips: Clips) -> Tensor:
        if self.backbone.reads == 'pixels' or clips.tokens is not None:
            return clips.pixels if self.backbone.reads == 'pixels' else clips.tokens
        nothing_hidden = torch.zeros(len(clips.frames), *self.token_grid(clips), dtype=torch.bool)
        return self.tokenize(stream, clips, nothing_hidden)[self.default_target].tokens

    def train(self, mode: bool = True) -> Pretrainer:
        """As torch's, but the tokenizers stay in eval mode."""
        super().train(mode)
        self.tokenizers.eval()
        return self

    # ---------------------------------------------------------------------------------------------------- building

    @staticmethod
    def _build_tokenizers(cfg: dict | None) -> nn.ModuleDict:
        if cfg is None:
            return nn.ModuleDict()
        named = {'tokenizer': cfg} if 'type' in cfg else cfg
        return nn.ModuleDict({name: MODELS.build(part) for name, part in named.items()}).requires_grad_(False).eval()

    def _build_objective(self, name: str, cfg: dict) -> Objective:
        target = cfg.get('target')
        if target is not None and target not in self.tokenizers:
            raise ValueError(f'objective {name!r}: target={target!r} is no tokenizer; there are '
                             f'{sorted(self.tokenizers)}')
        tokenizer = self.tokenizers[target or self.default_target] if self.tokenizers else None
        return MODELS.build(cfg, default_args=dict(backbone=self.backbone, tokenizer=tokenizer))

    def _check_streams(self) -> None:
        streams = set(self.maskers)
        for part, named in [('stream_weights', self.stream_weights),
                            *((f'objective {n!r}', o.streams or ()) for n, o in self.objectives.items())]:
            if unknown := set(named) - streams:
                raise ValueError(f'{part} names the streams {sorted(unknown)}; maskers exist for {sorted(streams)}')
        for stream in streams:
            if not any(self.objectives_of(stream)):
                raise ValueError(f'no objective serves the stream {stream!r}')


def _tokens_of(tokenizer: Tokenizer, frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Tokens of uint8 frames, shown to the tokenizer at the given size."""
    with torch.inference_mode():
        tokens = tokenizer(resize_pixels(frames, size, tokenizer.view_filter))
    return tokens.clone()  # an inference tensor cannot be saved for a backward


def _positions(mask: Tensor) -> Tensor:
    """Indices of what is hidden, in the flattened mask."""
    return mask.flatten().nonzero().squeeze(1)


def _device_of(clips: Clips) -> torch.device:
    return (clips.frames if clips.tokens is None else clips.tokens).device


def _to(tensor: Tensor, device: torch.device) -> Tensor:
    """Move a host tensor without making the host wait for the device."""
    return (tensor.pin_memory() if device.type == 'cuda' else tensor).to(device, non_blocking=True)


def _drop_tokenizers(module: Pretrainer, state_dict: dict, prefix: str, metadata) -> None:
    """A frozen tokenizer is named by its own file; it is not copied into every checkpoint."""
    for key in [key for key in state_dict if key.startswith(f'{prefix}tokenizers.')]:
        del state_dict[key]


def _keep_own_tokenizers(module: Pretrainer, state_dict: dict, prefix: str, *args) -> None:
    for key, value in module.tokenizers.state_dict().items():
        state_dict.setdefault(f'{prefix}tokenizers.{key}', value)
