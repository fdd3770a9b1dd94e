"""Translate weights of BEVT's released code, and infer the model that they belong to."""
from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .foreign_weights import ForeignWeights
from .model_file import ModelFile, source_of
from .swin_config import PREPROCESSOR, add_mask_embedding, infer_window, split_prefix, swin_config
from .swin_names import INDEX_BUFFERS, PATCH_KERNEL

OBJECTIVE = 'objectives.mvm'
IMAGE, VIDEO = f'{OBJECTIVE}.decoder.branches.image', f'{OBJECTIVE}.decoder.branches.video'
DECODER = {
    'backbone.fpn.0': f'{IMAGE}.upsample',
    'backbone.lm_down': f'{IMAGE}.fuse',
    'backbone.fpn_s.0': f'{VIDEO}.upsample',
    'backbone.lm_down_st.0': f'{VIDEO}.fuse',
    'backbone.fpn_t.0': f'{VIDEO}.temporal_upsample',
}
RENAMED = DECODER | {
    'backbone.mask_token': 'backbone.mask_embedding',
    'backbone.norm': 'backbone.norm3',
    'cls_head.lm_head': f'{OBJECTIVE}.classifier',
    'cls_head.fc_cls': 'fc',
}
"""Modules whose name differs; the others keep theirs."""

KERNEL = f'backbone.{PATCH_KERNEL}'


def bevt_model(source: ForeignWeights, window: Sequence[int] | None = None) -> ModelFile:
    """Infer the model that the authors' weights belong to, and translate them.

    Shapes tell everything but the window, of which they tell the size of the bias tables; see :func:`infer_window`. The
    model needs no tokenizer: the classifier tells the size of the vocabulary.

    Args:
        source: ``backbone.*`` (or the bare names of the encoder); ``cls_head.lm_head.*`` of pre-training or
            ``cls_head.fc_cls.*`` of fine-tuning. A Video Swin of mmaction2 has the names of the latter.
        window: of the blocks; ``None`` infers it.

    Returns:
        A ``ClipClassifier``, or a ``Pretrainer`` with the objective ``mvm`` where decoder and classifier are there, and
        with the backbone alone elsewhere; ``source['notes']`` holds a sentence for each thing that was assumed or left
        out.

    Raises:
        ValueError: if names are not known, weights are missing, or the window does not fit.

    Source: BEVT, arXiv:2112.01529, released code.
    """
    weights, notes = dict(source.tensors), []
    if PATCH_KERNEL in weights:  # the encoder alone
        weights = {f'backbone.{name}': value for name, value in weights.items()}
    if KERNEL not in weights:
        raise ValueError(f'these are not weights of BEVT: {KERNEL} is missing; found {sorted(weights)[:4]}')
    if weights[KERNEL].ndim == 4:
        raise ValueError('these are weights of an image model, of patches of one frame: convert them with "swin2d"')
    weights = _leave_out_others(weights, notes)
    ours = convert_bevt(weights)
    add_mask_embedding(ours, notes)
    backbone = swin_config(split_prefix(ours, 'backbone.')[0], infer_window(weights, window, notes))
    notes.append("pixels: normalised with ImageNet's mean and deviation, as in the released configs")
    if 'fc.weight' in ours:
        notes.append('views: averaged as probabilities (average_clips), as in the released configs')
        config = dict(type='ssvideo.ClipClassifier', backbone=backbone, num_classes=len(ours['fc.weight']),
                      pool='summary', dropout=0.5, average_clips='prob',  # released configs
                      data_preprocessor=PREPROCESSOR)
    else:
        config = dict(type='ssvideo.Pretrainer', backbone=backbone, **_pretraining(ours, backbone['patch_size'][0]),
                      data_preprocessor=PREPROCESSOR)
    return ModelFile(config, ours, source_of(source.path, notes))


def convert_bevt(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of the released BEVT code to those of our models.

    Args:
        state_dict: the authors' names: ``backbone.*``, and ``cls_head.lm_head.*`` or ``cls_head.fc_cls.*`` where the
            classifier was kept.

    Returns:
        ``backbone.*``; ``objectives.mvm.*`` of a ``Pretrainer`` where there are weights of it, the shared norm then
        under both its names; ``fc.*`` of a ``ClipClassifier``. Buffers that only hold indices are left out.

    Raises:
        ValueError: if there is a name that such weights do not have.

    Source: BEVT, arXiv:2112.01529, released code.
    """
    converted = {}
    is_pretraining = any(name.startswith('cls_head.lm_head.') for name in state_dict)
    for name, value in state_dict.items():
        module, _, leaf = name.rpartition('.')
        if leaf in INDEX_BUFFERS:
            continue
        if name in RENAMED:  # a parameter of the backbone itself
            new_name, value = RENAMED[name], value.flatten()
        elif module in RENAMED:
            new_name = f'{RENAMED[module]}.{leaf}'
        elif module.startswith(('backbone.patch_embed', 'backbone.layers.')) or module == 'backbone.norm3':  # mmaction2
            new_name = name
        else:
            raise ValueError(f'{name} is not a weight of the released BEVT models; expected backbone.* of '
                             'SwinTransformerBEVT or SwinTransformer3D, cls_head.lm_head.* and cls_head.fc_cls.*')
        converted[new_name] = _with_time(value) if leaf == 'weight' else value
        if is_pretraining and new_name.startswith('backbone.norm3.'):
            converted[f'{OBJECTIVE}.norm.{leaf}'] = value
    return converted


def _leave_out_others(weights: dict[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """Drop what the authors' training saves beside the model, and a decoder that nothing can be predicted with."""
    kinds = {
        'of the tokenizer (convert its own file with "dalle")': 'cls_head.vae_encoder.',
        "of before averaging (of the two sets that mmcv's EMAHook saves, the averaged one is kept)": 'ema_'}
    dropped = {kind: [name for name in weights if name.startswith(prefix)] for kind, prefix in kinds.items()}
    if 'cls_head.lm_head.weight' not in weights:
        dropped['of the decoder, whose classifier is not there'] = [
            name for name in weights if name.rpartition('.')[0] in DECODER]
    notes += [f'left out: {len(names)} weights {kind}' for kind, names in dropped.items() if names]
    others = {name for names in dropped.values() for name in names}
    return {name: value for name, value in weights.items() if name not in others}


def _pretraining(ours: dict[str, Tensor], patch_frames: int) -> dict:
    """Maskers and objectives that there are weights of; each stream's masker is the paper's."""
    if f'{OBJECTIVE}.classifier.weight' not in ours:
        return dict(maskers={}, objectives={})
    branches = [name for name, place in (('image', IMAGE), ('video', VIDEO)) if f'{place}.fuse.weight' in ours]
    if not branches:
        raise ValueError('there is a classifier of tokens (cls_head.lm_head) but no decoder (backbone.lm_down*, '
                         'backbone.fpn*): remove one, or add the other')
    decoder = dict(type='ssvideo.SwinDecoder', branches=branches)
    if (upsample := ours.get(f'{VIDEO}.temporal_upsample.weight')) is not None:
        decoder['temporal_upsample'] = upsample.shape[2]
    image = dict(type='ssvideo.TubeMasker', mask_ratio=0.5)
    maskers = dict(image=image, video=image | dict(tube_length=[0.5, 1.0], temporal_stride=patch_frames))
    objective = dict(type='ssvideo.MVM', decoder=decoder, vocab_size=len(ours[f'{OBJECTIVE}.classifier.weight']))
    return dict(maskers={name: maskers[name] for name in branches}, objectives=dict(mvm=objective))


def _with_time(weight: Tensor) -> Tensor:
    """Give a 2D kernel a temporal axis of size 1."""
    return weight.unsqueeze(2) if weight.ndim == 4 else weight
