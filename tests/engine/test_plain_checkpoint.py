"""Checkpoints can be read without executing anything."""
import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from ssvideo.engine.hooks import PlainCheckpointHook
from ssvideo.engine.hooks.plain_checkpoint import plain


def test_plain__leaves_tensors_and_built_ins_only(tmp_path):
    value = dict(a=np.float64(1.5), b=[np.int64(2), (np.bool_(True),)], c=np.arange(3), d=None, e='text', f=torch.ones(2))
    torch.save(plain(value, 'checkpoint'), tmp_path / 'file.pth')
    loaded = torch.load(tmp_path / 'file.pth', weights_only=True)
    assert loaded['a'] == 1.5 and loaded['b'] == [2, (True,)] and loaded['c'].tolist() == [0, 1, 2] and loaded['d'] is None


def test_hook__gives_the_log_back_and_drops_what_would_be_executed(tmp_path):
    hook = PlainCheckpointHook()
    checkpoint = dict(meta=dict(epoch=1), message_hub=dict(log_scalars={'train/loss': HistoryBuffer([1.0, 3.0], [1, 1])},
                                                           runtime_info=dict(eta=np.float64(3.0)), resumed_keys={}))
    hook.before_save_checkpoint(None, checkpoint)
    torch.save(checkpoint, tmp_path / 'file.pth')
    loaded = torch.load(tmp_path / 'file.pth', weights_only=True)
    loaded['meta']['config'] = 'raise SystemExit("executed")'
    hook.after_load_checkpoint(None, loaded)
    assert loaded['message_hub']['log_scalars']['train/loss'].mean() == 2.0
    assert 'config' not in loaded['meta']
