"""Joint training on two processes is that of one process with the batches of both."""
from __future__ import annotations

import os
import tempfile

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch.utils.data import Dataset

import ssvideo.engine  # noqa: F401
import ssvideo.models  # noqa: F401
from ssvideo.models.maskers import Masker
from ssvideo.models.tokenizers import Tokenizer
from ssvideo.registry import MODELS

VOCAB = 16


class FixedMasker(Masker):
    """Hides the left half, so that all processes have as many masked tokens."""

    def sample(self, grid, rng):
        mask = torch.zeros(grid, dtype=torch.bool)
        mask[:, :, :grid[2] // 2] = True
        return mask


class Brightness(Tokenizer):
    """Ids from the mean brightness of 8 x 8 patches."""
    vocab_size = VOCAB
    stride = (1, 8, 8)
    independent_frames = True

    def forward(self, pixels):
        return (pixels.mean(1).unflatten(3, (-1, 8)).unflatten(2, (-1, 8)).mean((3, 5)) * VOCAB).long().clamp(0, VOCAB - 1)


class Noise(Dataset):
    """Eight clips of so many frames."""
    seed = 0

    def __init__(self, num_frames):
        self.num_frames = num_frames

    def __len__(self):
        return 8

    def __getitem__(self, key):
        generator = torch.Generator().manual_seed(100 * self.num_frames + key[0])
        coarse = torch.randint(256, (1, 3, self.num_frames, 8, 8), dtype=torch.uint8, generator=generator)
        return dict(inputs=coarse.repeat_interleave(8, -1).repeat_interleave(8, -2))


class Record(Hook):
    """Keeps the losses of every step."""

    def __init__(self):
        self.losses = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(torch.stack([outputs['video_mvm_loss'].detach(), outputs['image_mvm_loss'].detach()]))


def bevt():
    torch.manual_seed(0)
    model = MODELS.build(dict(
        type='Pretrainer', data_preprocessor=dict(type='ClipPreprocessor', mean=[127.5] * 3, std=[64.0] * 3),
        backbone=dict(type='VideoSwin', patch_size=(2, 4, 4), embed_dims=8, depths=(1, 1, 2, 1), num_heads=(1, 2, 2, 4),
                      window_size=(2, 4, 4), drop_path_rate=0.0),
        tokenizer=dict(type=Brightness),
        maskers=dict(video=dict(type=FixedMasker, temporal_stride=2), image=dict(type=FixedMasker)),
        objectives=dict(mvm=dict(type='MVM', decoder=dict(type='SwinDecoder'))), stream_weights=dict(video=0.5, image=1.0)))
    for parameter in model.parameters():  # far from the initial law: gradients that show
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2)
    return model.double()


def train(folder, model, num_videos, num_images, **arguments):
    """Two epochs of plain SGD, whose weights add up the gradients."""
    init_default_scope('mmaction')
    record, common = Record(), dict(num_workers=0, sampler=dict(type='ssvideo.DrawSampler', shuffle=False))
    Runner(model, folder, train_dataloader=dict(video=dict(dataset=Noise(4), batch_size=num_videos, **common),
                                                image=dict(dataset=Noise(1), batch_size=num_images, **common)),
           train_cfg=dict(type='ssvideo.StreamTrainLoop', max_epochs=2), custom_hooks=[record],
           optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05), paramwise_cfg=dict(bypass_duplicate=True)),
           default_hooks=dict(checkpoint=None), randomness=dict(seed=3), default_scope='mmaction', log_level='ERROR',
           experiment_name=folder, **arguments).train()
    return torch.stack(record.losses)


def one_of_two_processes(rank, folder):
    torch.set_num_threads(1)
    os.environ['LOCAL_RANK'] = str(rank)
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    model = bevt()
    losses = train(f'{folder}/run', model, 2, 3, launcher='pytorch', cfg=dict(model_wrapper_cfg=dict(
        type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)))
    torch.save(dict(losses=losses, **dict(model.named_parameters())), f'{folder}/{rank}.pth')
    dist.destroy_process_group()


def test_joint_training__two_processes_equal_one(tmp_path):
    """Losses of every step and the weights after four, in float64, with masks of equal size."""
    model = bevt()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    expected = train(str(tmp_path), model, 4, 6)
    assert expected.shape == (4, 2)
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(one_of_two_processes, args=(folder,), nprocs=2)
        found = [torch.load(f'{folder}/{rank}.pth', weights_only=True) for rank in range(2)]
    torch.testing.assert_close((found[0].pop('losses') + found[1].pop('losses')) / 2, expected, atol=1e-10, rtol=1e-10)
    for name, value in model.named_parameters():
        if value.requires_grad:
            assert not torch.equal(value, before[name]), name
        for one in found:
            torch.testing.assert_close(one[name], value, atol=1e-10, rtol=1e-9, msg=lambda m, n=name: f'{n}: {m}')
