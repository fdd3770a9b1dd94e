"""Runs of V-JEPA: resumed ones, on two processes, and the teacher's hook."""
import tempfile

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.hooks import Hook
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import Dataset

from plugins.vjepa.test_vjepa import CONFIG, random_clips
from ssvideo.models.maskers import Masker
from ssvideo.registry import MODELS
from ssvideo.structures import Clips
from tests.engine.pretraining_runs import pretraining_run


class Noise(Dataset):
    """Sixteen clips of coarse noise."""
    seed = 0

    def __len__(self):
        return 16

    def describe(self, index):
        return dict(filename=f'videos/{index}.mp4')

    def __getitem__(self, key):
        coarse = torch.randint(256, (1, 3, 4, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(key[0]))
        return dict(inputs=coarse.repeat_interleave(4, -1).repeat_interleave(4, -2))


class Record(Hook):
    """Keeps the losses and a weight of student and teacher of every step; may end the run after one."""
    priority = 'LOWEST'

    def __init__(self, stop=None):
        self.stop, self.losses, self.student, self.teacher = stop, {}, {}, {}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses[runner.iter] = outputs['loss'].item()
        self.student[runner.iter] = runner.model.student.patch_embed.weight.detach().clone()
        self.teacher[runner.iter] = runner.model.backbone.patch_embed.weight.detach().clone()
        if runner.iter + 1 == self.stop:
            raise KeyboardInterrupt


HOOK = dict(type='ssvideo.TeacherHook', momentum=(0.5, 1.0))


def train(folder, stop=None, resume=False, accumulate=2, hooks=(HOOK,)):
    """Two epochs of four batches."""
    record = Record(stop)
    runner = pretraining_run(
        folder, interval=2, name=f'{stop}{resume}', model=CONFIG | dict(type='ssvideo.VJEPA'), hooks=(*hooks, record),
        resume=resume,
        train_dataloader=dict(dataset=Noise(), batch_size=4, num_workers=0, sampler=dict(type='ssvideo.DrawSampler')),
        default_hooks=dict(checkpoint=dict(type='ssvideo.CheckpointHook', interval=2, by_epoch=False, max_keep_ckpts=1)),
        optim_wrapper=dict(accumulative_counts=accumulate))
    try:
        runner.train()
    except KeyboardInterrupt:
        assert stop
    return record, runner


def test_run__resumed_is_the_uninterrupted_one_and_the_teacher_moves_once_in_an_optimiser_step(tmp_path):
    whole, runner = train(tmp_path / 'whole')
    begun, _ = train(tmp_path / 'cut', stop=5)
    rest, resumed = train(tmp_path / 'cut', resume=True)
    assert sorted(begun.losses) == [0, 1, 2, 3, 4] and sorted(rest.losses) == [4, 5, 6, 7]
    for part in (begun, rest):
        assert part.losses == {number: whole.losses[number] for number in part.losses}
    for name, value in runner.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    teacher = whole.teacher[0]
    for number in range(1, 8, 2):  # two batches in a step: the momentum is that of its last iteration
        momentum = 0.5 + 0.5 * number / 8
        assert torch.equal(whole.teacher[number - 1], teacher)
        torch.testing.assert_close(whole.teacher[number], momentum * teacher + (1 - momentum) * whole.student[number])
        teacher = whole.teacher[number]
    frozen = {id(parameter) for parameter in runner.model.backbone.parameters()}
    assert not any(id(parameter) in frozen for parameter in runner.optim_wrapper.optimizer.state), 'no state of the teacher'


def test_run__without_the_hook_is_an_error(tmp_path):
    with pytest.raises(ValueError, match='nothing moves'):
        train(tmp_path, hooks=())


def test_teacher_hook__refuses_a_model_without_a_teacher(tmp_path):
    runner = pretraining_run(tmp_path, hooks=[dict(type='ssvideo.TeacherHook')])
    with pytest.raises(ValueError, match='has none'):
        runner.train()


class LeftHalf(Masker):
    """Hides the left half, so that all processes mask alike."""

    def sample(self, grid, rng):
        mask = torch.zeros(grid, dtype=torch.bool)
        mask[:, :, :grid[2] // 2] = True
        return mask


def steps_of_descent(clips, parallel):
    """The weights after three steps of plain SGD, in float64."""
    torch.manual_seed(0)
    masker = dict(type=LeftHalf)
    model = MODELS.build(CONFIG | dict(maskers=dict(short=masker, long=masker))).double()
    trained = DistributedDataParallel(model) if parallel else model
    optimizer = torch.optim.SGD([parameter for parameter in model.parameters() if parameter.requires_grad], lr=0.5)
    for _ in range(3):
        losses = trained(dict(video=clips), mode='loss')
        optimizer.zero_grad()
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        optimizer.step()
        model.update_teacher(0.5)
    return model.state_dict()


def one_of_two_processes(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    clips = random_clips(4)
    half = Clips(frames=clips.frames[2 * rank:2 * rank + 2], pixels=clips.pixels[2 * rank:2 * rank + 2])
    torch.save(steps_of_descent(half, parallel=True), f'{folder}/{rank}.pth')
    dist.destroy_process_group()


def test_two_processes__equal_one_and_wait_for_no_parameter():
    """Student, predictor and teacher; DDP would complain about a parameter without a gradient in the second step."""
    expected = steps_of_descent(random_clips(4), parallel=False)
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(one_of_two_processes, args=(folder,), nprocs=2)
        found = [torch.load(f'{folder}/{rank}.pth', weights_only=True) for rank in range(2)]
    for one in found:
        for name, value in expected.items():
            torch.testing.assert_close(one[name], value, atol=1e-10, rtol=1e-9, msg=lambda m, name=name: f'{name}: {m}')
