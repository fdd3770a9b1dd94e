"""Translate weights of VIMPAC's released code."""
from __future__ import annotations

import re

import torch
from torch import Tensor

from ..models.layers.divided_attention import parse_layout

_LAYER = r'backbone\.transformer\.resblocks\.(\d+)\.'
_BLOCK = _LAYER + r'attention_blocks\.(\d+)\.'
_RENAMES = [(re.compile(pattern + '$'), replacement) for pattern, replacement in (
    (r'backbone\.embedding\.weight', 'backbone.token_embedding.weight'),
    (r'backbone\.cls_param', 'backbone.cls_token'),
    (r'backbone\.positional_embedding\.(cls|temporal|height|width)_pos_embedding', r'backbone.positions.\1'),
    (r'backbone\.ln_pre\.(\w+)', r'backbone.embedding_norm.\1'),
    (r'backbone\.ln_post\.(\w+)', r'backbone.final_norm.\1'),
    (_LAYER + r'mlp\.c_fc\.(\w+)', r'backbone.layers.\1.mlp.body.0.\2'),
    (_LAYER + r'mlp\.c_proj\.(\w+)', r'backbone.layers.\1.mlp.body.2.\2'),
    (_LAYER + r'ln\.(\w+)', r'backbone.layers.\1.mlp.norm.\2'),
    (_BLOCK + r'(?:output\.)?dense\.(\w+)', r'backbone.layers.\1.attentions.\2.body.out.\3'),  # 'output.': post-norm
    (_BLOCK + r'(?:output\.)?LayerNorm\.(\w+)', r'backbone.layers.\1.attentions.\2.norm.\3'),
    (r'mlm_head\.transform\.(\d)\.(\w+)', r'objectives.mlm.transform.\1.\2'),
    (r'mlm_head\.bias', r'objectives.mlm.bias'),
)]
_BRANCH = re.compile(_BLOCK + r'attentions\.(\d+)\.attention\.query\.(weight|bias)')
_PROJECTOR = re.compile(r'cls_head\.mlp\.(linear|bn)_(\d+)\.(\w+)')
_TIED = {'mlm_head.decoder.weight': 'backbone.embedding.weight', 'mlm_head.decoder.bias': 'mlm_head.bias'}


def convert_vimpac(state_dict: dict[str, Tensor], layout: str, num_heads: int) -> dict[str, Tensor]:
    """Give the authors' weights the names of a ``Pretrainer`` with objectives ``mlm`` and ``nce``.

    Args:
        state_dict: ``backbone.*`` and, where present, ``mlm_head.*`` and ``cls_head.*``; a leading ``module.`` is
            dropped.
        layout: of the attention, which the names alone do not tell, such as ``'T,H|W'``.
        num_heads: heads of each attention block, over all its branches.

    Returns:
        ``backbone.*`` for ``DividedTransformer``, ``objectives.mlm.*`` for ``MLM``, ``objectives.nce.*`` for
        ``InfoNCE``; strictly loadable.

    Raises:
        ValueError: if a name is not known, a tied weight is not tied, or layout or heads do not fit the weights.
    """
    source = {name.removeprefix('module.'): tensor for name, tensor in state_dict.items()}
    _check_ties(source)
    blocks = parse_layout(layout)
    result, unknown = {}, []
    for name, tensor in source.items():
        if name in _TIED or '.attention.key.' in name or '.attention.value.' in name:
            continue  # ties are written below, keys and values fused with their queries
        if match := _BRANCH.match(name):
            layer, block, branch, kind = match.groups()
            if branch == '0':
                fused = _fuse_qkv(source, name, blocks, int(block), num_heads)
                result[f'backbone.layers.{layer}.attentions.{block}.body.qkv.{kind}'] = fused
        elif match := _PROJECTOR.match(name):
            part, index, kind = match.groups()
            result[f'objectives.nce.projector.{3 * int(index) + (part == "bn")}.{kind}'] = tensor
        elif new := next((p.sub(r, name) for p, r in _RENAMES if p.match(name)), None):
            result[new] = tensor.flatten() if new == 'backbone.positions.cls' else tensor
        else:
            unknown.append(name)
    if unknown:
        raise ValueError(f'not weights of VIMPAC: {unknown[:5]} ({len(unknown)} unknown names); expected backbone.*, '
                         'mlm_head.* and cls_head.* as its released code saves them')
    _complete(result)
    return result


def _fuse_qkv(source: dict[str, Tensor], first_query: str, blocks: list[list[str]], block: int,
              num_heads: int) -> Tensor:
    """Rows ordered as ``DividedAttention.qkv`` has them: branch, then query, key and value."""
    present = sum(first_query.replace('.attentions.0.', f'.attentions.{i}.') in source for i in range(4))
    expected = len(blocks[block]) if block < len(blocks) else 0
    if present != expected:
        raise ValueError(f'{first_query}: attention block {block} has {present} branches in the weights and '
                         f'{expected} in the layout; give the layout that the weights were trained with')
    rows = [source[first_query.replace('.attentions.0.', f'.attentions.{branch}.').replace('.query.', f'.{part}.')]
            for branch in range(present) for part in ('query', 'key', 'value')]
    width = present * len(rows[0])
    if num_heads % present or width % num_heads:
        raise ValueError(f'{first_query}: num_heads={num_heads} does not divide into {present} branches of '
                         f'{len(rows[0])} channels; give the heads over all branches')
    return torch.cat(rows)


def _check_ties(source: dict[str, Tensor]) -> None:
    for name, other in _TIED.items():
        if name in source and (other not in source or not torch.equal(source[name], source[other])):
            raise ValueError(f'{name} differs from {other}; in VIMPAC the two are one weight')


def _complete(result: dict[str, Tensor]) -> None:
    """Add what the authors' files leave out: the second name of the tied embedding, and batch norm's counters."""
    if 'objectives.mlm.bias' in result:
        result['objectives.mlm.embedding'] = result['backbone.token_embedding.weight']
    for name in [name for name in result if name.endswith('.running_mean')]:
        result.setdefault(name.replace('running_mean', 'num_batches_tracked'), torch.tensor(0))
