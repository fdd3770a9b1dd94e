"""Names of the released BEVT code, taken to ours."""
from __future__ import annotations

from torch import Tensor

OBJECTIVE = 'objectives.mvm'
RENAMED = {
    'backbone.mask_token': 'backbone.mask_embedding',
    'backbone.norm': 'backbone.norm3',
    'backbone.fpn.0': f'{OBJECTIVE}.decoder.branches.image.upsample',
    'backbone.lm_down': f'{OBJECTIVE}.decoder.branches.image.fuse',
    'backbone.fpn_s.0': f'{OBJECTIVE}.decoder.branches.video.upsample',
    'backbone.lm_down_st.0': f'{OBJECTIVE}.decoder.branches.video.fuse',
    'backbone.fpn_t.0': f'{OBJECTIVE}.decoder.branches.video.temporal_upsample',
    'cls_head.lm_head': f'{OBJECTIVE}.classifier',
}
"""Modules whose name differs; the others keep theirs."""

INDEX_BUFFERS = ('relative_position_index', 'attn_mask')


def convert_bevt(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of the released BEVT code to those of a ``Pretrainer`` with ``objectives=dict(mvm=...)``.

    Args:
        state_dict: the authors' names: ``backbone.*``, and ``cls_head.lm_head.*`` where the classifier was kept.

    Returns:
        ``backbone.*`` and ``objectives.mvm.*``; the shared norm under both its names. Buffers that only hold indices
        are left out.

    Raises:
        ValueError: if there is a name that such weights do not have.

    Source: BEVT, arXiv:2112.01529, released code.
    """
    converted = {}
    for name, value in state_dict.items():
        module, _, leaf = name.rpartition('.')
        if leaf in INDEX_BUFFERS:
            continue
        if name in RENAMED:  # a parameter of the backbone itself
            new_name, value = RENAMED[name], value.flatten()
        elif module in RENAMED:
            new_name = f'{RENAMED[module]}.{leaf}'
        elif module.startswith(('backbone.patch_embed', 'backbone.layers.')):
            new_name = name
        else:
            raise ValueError(f'{name} is not a weight of the released BEVT pre-training model; expected backbone.* of '
                             'SwinTransformerBEVT and cls_head.lm_head.*')
        converted[new_name] = _with_time(value) if leaf == 'weight' else value
        if module == 'backbone.norm':
            converted[f'{OBJECTIVE}.norm.{leaf}'] = value
    return converted


def _with_time(weight: Tensor) -> Tensor:
    """Give a 2D kernel a temporal axis of size 1."""
    return weight.unsqueeze(2) if weight.ndim == 4 else weight
