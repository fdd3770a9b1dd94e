"""Parts of a model compiled where they stand."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from ..models.objectives import Objective
from ..models.tokenizers import Tokenizer
from ..models.tokenizers.frame_tokenizer import FrameTokenizer


def compile_parts(model: nn.Module, parts: Sequence[str], backend: str = 'inductor') -> list[str]:
    """Compile the forward of some parts of a model, each into one graph for each kind of input.

    The model's modules, and so the names in its state dict, stay what they are. A part that cannot be one graph is an error
    in the first step. What differs from step to step does not lead to another graph: the number of masked positions, and of
    the frames that a tokenizer is given, are left open in the graphs. All that is random is drawn as without compilation.
    Of an objective its networks are compiled (decoder, projector, transform); its loss takes the scores by blocks of rows,
    whose number would be fixed in a graph.

    Args:
        model: changed in place.
        parts: names of submodules, such as ``'backbone'`` or ``'objectives.mvm.decoder'``. A dict or list of modules
            (``'objectives'``, ``'tokenizers'``) stands for all that are in it, which may be none.
        backend: of ``torch.compile``.

    Returns:
        Names of the modules whose forward was compiled.

    Raises:
        ValueError: if the model has no such part.
    """
    options = {'fallback_random': True} if backend == 'inductor' else None  # dropout as without compilation

    def compiled(function: Callable) -> Callable:
        return torch.compile(function, fullgraph=True, dynamic=False, backend=backend, options=options)

    names = []
    for name, module in _modules_of(model, parts):
        if isinstance(module, FrameTokenizer):  # by chunks of frames, of which the last is smaller
            module.tokens_of = _with_any_number_of_rows(compiled(module.tokens_of))
        elif isinstance(module, Tokenizer):
            module.forward = _with_any_number_of_rows(compiled(module.forward))
        elif isinstance(module, Objective):
            networks = {f'{name}.{inner}': child for inner, child in module.named_children() if any(child.children())}
            for network in networks.values():
                network.forward = _with_any_number_of_rows(compiled(network.forward))
            names += networks
            continue
        else:
            module.forward = _with_any_number_of_positions(compiled(module.forward))
        names.append(name)
    return names


def _modules_of(model: nn.Module, parts: Sequence[str]) -> Iterator[tuple[str, nn.Module]]:
    for part in parts:
        try:
            module = model.get_submodule(part)
        except AttributeError:
            children = ', '.join(name for name, _ in model.named_children())
            raise ValueError(f'a {type(model).__name__} has no part {part!r} to compile; its parts are {children}, and '
                             'what is in them, such as backbone.layers') from None
        if isinstance(module, nn.ModuleDict | nn.ModuleList):
            yield from ((f'{part}.{name}', child) for name, child in module.named_children())
        else:
            yield part, module


def _with_any_number_of_positions(function: Callable) -> Callable:
    def call(*inputs, **known):
        if known.get('positions') is not None:
            torch._dynamo.maybe_mark_dynamic(known['positions'], 0)
        return function(*inputs, **known)
    return call


def _with_any_number_of_rows(function: Callable) -> Callable:
    def call(first, *others):
        if isinstance(first, Tensor):
            torch._dynamo.maybe_mark_dynamic(first, 0)
        return function(first, *others)
    return call
