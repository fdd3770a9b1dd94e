"""The names that other implementations of Swin give their weights."""
from __future__ import annotations

import re

from torch import Tensor

INDEX_BUFFERS = ('relative_position_index', 'attn_mask')
PATCH_KERNEL = 'patch_embed.proj.weight'
IMAGE_CLASSIFIER = ('head.weight', 'head.bias', 'head.fc.weight', 'head.fc.bias')  # Microsoft's, timm's
_MERGING = re.compile(r'layers\.(\d+)\.(downsample\..+)')


def own_names(weights: dict[str, Tensor], final_norm: str) -> tuple[dict[str, Tensor], list[str]]:
    """Give weights of 2D Swin (Microsoft's, timm's) and of Video Swin the names of ``VideoSwin``.

    Index buffers, which other implementations store, and the classifier of an image model are dropped. A final norm
    named ``norm`` is renamed. timm keeps the patch merging between two stages in the second; it goes to the first. A
    kernel of 2D patches gets a temporal axis.

    Args:
        weights: without any prefix; names that are ours already, or not known, stay as they are.
        final_norm: our name of the final norm, mmaction2's ``norm<last stage>``.

    Returns:
        The renamed weights, and one line per kind of change.
    """
    dropped = {'buffers of indices': [name for name in weights if name.rsplit('.', 1)[-1] in INDEX_BUFFERS],
               'weights of a classifier': [name for name in weights if name in IMAGE_CLASSIFIER]}
    lines = [f'{len(names)} {kind} dropped, such as {names[0]}' for kind, names in dropped.items() if names]
    merging_stages = {int(match[1]) for match in map(_MERGING.fullmatch, weights) if match}
    is_timm = bool(merging_stages) and 0 not in merging_stages
    if is_timm:
        lines.append('layers.N.downsample: moved to the end of the stage before (timm has it at the start of a stage)')
    renamed = {}
    for name, value in weights.items():
        if any(name in names for names in dropped.values()):
            continue
        new_name = f'{final_norm}.{name[5:]}' if name in ('norm.weight', 'norm.bias') else name
        if new_name != name:
            lines.append(f'{name}: renamed to {new_name}')
        if is_timm and (match := _MERGING.fullmatch(name)):
            new_name = f'layers.{int(match[1]) - 1}.{match[2]}'
        if name == PATCH_KERNEL and value.ndim == 4:  # a 2D convolution
            lines.append(f'{name}: {tuple(value.shape)} -> {tuple(value.unsqueeze(2).shape)}')
            value = value.unsqueeze(2)
        renamed[new_name] = value
    return renamed, lines
