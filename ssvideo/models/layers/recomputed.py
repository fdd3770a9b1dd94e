"""Parts of a backbone that are computed again in the backward pass, but for what is dear and small."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from . import biased_attention  # noqa: F401 (its operator is named below)

ATTENTION = frozenset({
    torch.ops.ssvideo.biased_attention.default,
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
    torch.ops.aten._scaled_dot_product_cudnn_attention.default})
"""What takes much time for what it leaves: of the activations of a block, one in eighteen."""
PRODUCTS = ATTENTION | {
    torch.ops.aten.mm.default, torch.ops.aten.addmm.default, torch.ops.aten.bmm.default, torch.ops.aten.baddbmm.default,
    torch.ops.aten.convolution.default}
"""What takes nearly all of the time of a part, and half of its memory."""


def recomputed_parts(what: str, num: int, recomputed: bool | Sequence[int],
                     keep_products: bool | Sequence[int] = False) -> tuple[frozenset[int], frozenset[int]]:
    """Read the arguments ``checkpoint_activations`` and ``keep_products``.

    Args:
        what: names the parts in a message, such as ``'VideoSwin: stages'``.
        num: how many there are.
        recomputed: True for all, False for none, or numbers of parts from 0.
        keep_products: which of these keep the results of matrix products: True for all, False for none, or numbers.

    Returns:
        The numbers of the parts that are recomputed, and of those among them that keep products.

    Raises:
        ValueError: for a number that no part has, or products kept by a part that is not recomputed.
    """
    parts = _numbers(recomputed, range(num))
    if wrong := parts - set(range(num)):
        raise ValueError(f'{what} are numbered 0 to {num - 1}, got checkpoint_activations={sorted(parts)}: leave out '
                         f'{sorted(wrong)}, or set True for all')
    keeping = _numbers(keep_products, parts)
    if wrong := keeping - parts:
        raise ValueError(f'{what}: keep_products={sorted(keeping)}, but {sorted(wrong)} are not recomputed: name them in '
                         f'checkpoint_activations, too (now {sorted(parts)})')
    return parts, keeping


def _numbers(asked: bool | Sequence[int], everything: Iterable[int]) -> frozenset[int]:
    return frozenset((everything if asked else ()) if isinstance(asked, bool) else asked)


def recompute(function: Callable[..., Tensor], *inputs, keep_products: bool = False) -> Tensor:
    """Call a function whose activations are computed again in the backward pass, but for the results of attention kernels.

    Args:
        function: of a part; what it draws at random is drawn alike again.
        inputs: its arguments.
        keep_products: keep the results of matrix products, too, and compute again only what lies between them, norms,
            GELU and copies: half of the memory of the activations, at little time.

    Returns:
        What the function returns.
    """
    contexts = partial(create_selective_checkpoint_contexts, partial(_policy, PRODUCTS if keep_products else ATTENTION))
    return checkpoint(function, *inputs, use_reentrant=False, context_fn=contexts)


def _policy(kept: frozenset, context, operator, *args, **kwargs) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operator in kept else CheckpointPolicy.PREFER_RECOMPUTE
