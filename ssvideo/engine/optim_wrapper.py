"""Mixed precision on any device."""
from __future__ import annotations

from contextlib import contextmanager

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper

from ..registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """mmengine's wrapper, with the forward under bfloat16 autocast.

    ``AmpOptimWrapper`` asserts a GPU and scales losses for float16. bfloat16 has the range of float32, so it needs no
    scaler, and the same config runs on a CPU. Arguments are ``OptimWrapper``'s.
    """

    @contextmanager
    def optim_context(self, model: torch.nn.Module):
        """Run the forward under autocast, and hold back gradient exchange while accumulating."""
        with super().optim_context(model), torch.autocast(get_device(), torch.bfloat16):
            yield
