"""Translate weights of VIMPAC's released code, and infer the model that they belong to."""
from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from ..models.backbones.divided_transformer import NUM_SPECIAL
from ..models.layers.divided_attention import parse_layout
from .foreign_weights import ForeignWeights
from .model_file import ModelFile, source_of

PAPER_LAYOUTS = ('T,H|W', 'T,H,W', 'T|H|W', 'H|W,T', 'T,HW', 'THW')  # Table 13; no two have the same branches
HEAD_DIMS = 64  # width / heads of every model of the paper; in Large-Half, too, whose heads have 32 channels of half the width
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


def vimpac_model(source: ForeignWeights, num_heads: int | None = None, layout: str | None = None) -> ModelFile:
    """Infer the model that the authors' weights belong to, and translate them.

    Shapes tell the widths, the number of layers, the grid, the vocabulary, pre- or post-norm, the projector and which
    heads there are. They do not tell ``num_heads`` and the layout, which come from what stands beside the weights, else
    from the arguments, else from an assumption; the notes of the result say which.

    Args:
        source: ``backbone.*``; ``mlm_head.*`` and ``cls_head.mlp.*`` of pre-training; or one linear layer of any other
            name, the classifier of fine-tuning.
        num_heads: heads of each attention block, over all its branches; assumed: width / 64, as in the paper's models.
        layout: of the attention; assumed: ``'T,H|W'``.

    Returns:
        A ``Pretrainer`` with objectives ``mlm`` and ``nce`` as present, or a ``ClipClassifier``; ``source['notes']``
        holds a sentence for each thing that shapes do not tell.

    Raises:
        ValueError: if names are not known, or layout or heads do not fit the weights.

    Source: VIMPAC, arXiv:2106.11250, released code.
    """
    weights, notes = dict(source.tensors), []
    if 'backbone.embedding.weight' not in weights:
        raise ValueError(f'these are not weights of VIMPAC: backbone.embedding.weight is missing; found {sorted(weights)[:4]}')
    width = weights['backbone.embedding.weight'].shape[1]
    told = dict(layout=source.fact('layout'), num_heads=source.fact('num_heads', 'num_attention_heads'))
    layout = _settle('layout', told['layout'], layout, PAPER_LAYOUTS[0], "the paper's default", notes)
    _check_layout(weights, layout)
    num_heads = _settle('num_heads', told['num_heads'], num_heads, width // HEAD_DIMS, f'width {width} / {HEAD_DIMS}', notes)
    if num_heads < 1:
        raise ValueError(f'num_heads must be at least 1, got {num_heads}: give --num-heads')
    head = _take_classifier(weights, width, notes)
    ours = convert_vimpac(weights, layout, num_heads)
    backbone = dict(type='ssvideo.DividedTransformer', layout=layout, num_heads=num_heads, **_backbone_sizes(ours))
    if head:
        config = dict(type='ssvideo.ClipClassifier', backbone=backbone, num_classes=len(head['fc.bias']),
                      pool='summary', dropout=0.0, average_clips='prob')  # paper, Table 11; nothing is dropped before the layer
        return ModelFile(config, ours | head, source_of(source.path, notes))
    objectives = _objectives(ours)
    maskers = dict(video=dict(type='ssvideo.BlockMasker', num_blocks=5)) if objectives else {}  # paper, stage 1
    config = dict(type='ssvideo.Pretrainer', backbone=backbone, maskers=maskers, objectives=objectives)
    return ModelFile(config, ours, source_of(source.path, notes))


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
    names = [first_query.replace('.attentions.0.', f'.attentions.{branch}.').replace('.query.', f'.{part}.')
             for branch in range(present) for part in ('query', 'key', 'value')]
    if missing := [name for name in names if name not in source]:
        raise ValueError(f'the attention is not whole: {missing[0]} is missing')
    rows = [source[name] for name in names]
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


# ------------------------------------------------------------------------------------------------ the architecture

def _settle(word: str, told, given, assumed, reason: str, notes: list[str]):
    """What the file says, else what was given, else what is assumed; and a note of which it was."""
    option = '--' + word.replace('_', '-')
    if told is not None:
        try:
            value = type(assumed)(told)
        except (TypeError, ValueError) as error:
            raise ValueError(f'the file says {word}={told!r}, expected {type(assumed).__name__}') from error
        unused = '' if given in (None, value) else f' ({option} {given} is not used)'
        notes.append(f'{word}={value}: from the source file{unused}')
        return value
    if given is not None:
        notes.append(f'{word}={given}: from {option}')
        return given
    notes.append(f'{word}={assumed}: ASSUMED ({reason}), the weights do not tell; if the model was trained with another, its '
                 f'features are wrong without an error: give {option}')
    return assumed


def _check_layout(weights: Mapping[str, Tensor], layout: str) -> None:
    """Names tell how many attention blocks a layer has, and how many branches each."""
    found: dict[int, set[str]] = {}
    for match in filter(None, map(_BRANCH.match, weights)):
        layer, block, branch, _ = match.groups()
        if layer == '0':
            found.setdefault(int(block), set()).add(branch)
    counts = [len(found[block]) for block in sorted(found)]
    expected = [len(branches) for branches in parse_layout(layout)]
    if counts != expected:
        fitting = [f"'{known}'" for known in PAPER_LAYOUTS if [len(b) for b in parse_layout(known)] == counts]
        hint = f"; of the paper's layouts {fitting[0]} fits: give --layout {fitting[0]}" if fitting else ''
        raise ValueError(f'layout {layout!r} has {expected} branches in its blocks, the weights have {counts}{hint}')


def _take_classifier(weights: dict[str, Tensor], width: int, notes: list[str]) -> dict[str, Tensor]:
    """Remove the linear layer of fine-tuning from the weights, and with it the heads of pre-training; none: ``{}``.

    Its name is not published, so it is the one linear layer that is neither of the backbone nor of pre-training.
    """
    layers = {name.rpartition('.')[0] for name in weights if not name.startswith(('backbone.', 'mlm_head.'))}
    if layers != {'cls_head.mlp.linear_0'}:  # alone it would be a classifier, if it has a bias: a projector ends without
        layers = {layer for layer in layers if not layer.startswith('cls_head.mlp.')}
    linear = [layer for layer in layers if f'{layer}.bias' in weights and f'{layer}.weight' in weights
              and weights[f'{layer}.weight'].shape == (len(weights[f'{layer}.bias']), width)]
    if len(linear) > 1:
        raise ValueError(f'there are {len(linear)} linear layers that may be the classifier, {sorted(linear)}: leave one')
    if not linear:
        return {}
    [layer] = linear
    head = {'fc.weight': weights.pop(f'{layer}.weight'), 'fc.bias': weights.pop(f'{layer}.bias')}
    dropped = [name for name in weights if name.startswith(('mlm_head.', 'cls_head.mlp.'))]
    for name in dropped:
        del weights[name]
    notes.append(f'classifier: {layer}, {len(head["fc.bias"])} classes'
                 + (f'; left out: {len(dropped)} weights of the heads of pre-training' if dropped else ''))
    return head


def _backbone_sizes(ours: Mapping[str, Tensor]) -> dict:
    """Arguments of ``DividedTransformer`` that follow from the shapes of its weights."""
    try:
        table = ours['backbone.token_embedding.weight']
        return dict(
            grid=[len(ours[f'backbone.positions.{axis}']) for axis in ('temporal', 'height', 'width')],
            vocab_size=len(table) - NUM_SPECIAL,
            embed_dims=table.shape[1],
            num_layers=len({name.split('.')[2] for name in ours if name.startswith('backbone.layers.')}),
            attention_dims=ours['backbone.layers.0.attentions.0.body.out.weight'].shape[1],
            mlp_dims=len(ours['backbone.layers.0.mlp.body.0.weight']),
            norm='pre' if 'backbone.final_norm.weight' in ours else 'post')
    except KeyError as error:
        raise ValueError(f'the weights of the backbone are not whole: {error} (our name) is missing') from error


def _objectives(ours: Mapping[str, Tensor]) -> dict:
    """Configs of the objectives that there are weights of."""
    objectives = {}
    if 'objectives.mlm.bias' in ours:
        objectives['mlm'] = dict(type='ssvideo.MLM')
    widths = {int(name.split('.')[3]): len(value) for name, value in ours.items()
              if name.startswith('objectives.nce.projector.') and value.ndim == 2}  # by index in the projector
    if widths:
        objectives['nce'] = dict(type='ssvideo.InfoNCE', num_layers=len(widths), hidden_dims=widths[min(widths)],
                                 out_dims=widths[max(widths)])
    return objectives
