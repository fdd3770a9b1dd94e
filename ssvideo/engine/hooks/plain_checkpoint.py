"""Checkpoints of plain tensors and built-ins."""
from __future__ import annotations

import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner

from ...registry import HOOKS


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Makes a run's checkpoints readable with ``torch.load(weights_only=True)``, and resuming safe.

    mmengine puts ``HistoryBuffer`` objects into a checkpoint, which torch >= 2.6 refuses to read back, so that a run
    cannot resume (open-mmlab/mmengine#1655). Here they are saved as tensors and rebuilt after loading.

    On resume mmengine runs ``meta['config']`` of the file *as Python*; nothing that writes our checkpoints sets that
    key, so it is removed.
    """
    priority = 'VERY_LOW'  # last to touch a checkpoint before it is written

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Turn the log buffers into built-ins."""
        hub = checkpoint['message_hub']
        hub['log_scalars'] = {name: dict(log=torch.as_tensor(buffer.data[0]), count=torch.as_tensor(buffer.data[1]))
                              for name, buffer in hub['log_scalars'].items()}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Rebuild the log buffers, and drop what would be executed."""
        checkpoint.get('meta', {}).pop('config', None)
        buffers = checkpoint.get('message_hub', {}).get('log_scalars', {})
        for name, saved in buffers.items():
            if isinstance(saved, dict):
                buffers[name] = HistoryBuffer(saved['log'].numpy(), saved['count'].numpy())
