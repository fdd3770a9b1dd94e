"""Stage 1 to stage 2: the same run, with positions, moments, iteration and schedules carried on."""
from __future__ import annotations

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import Dataset

import ssvideo.engine  # noqa: F401
import ssvideo.models  # noqa: F401
from ssvideo.engine.hooks.next_stage import advance_schedules
from ssvideo.models.layers.positions import interpolate_positions
from ssvideo.registry import MODELS

EPOCHS = 6  # of both stages together
PEAK = 1e-2


class Tokens(Dataset):
    """Eight clips of random tokens."""
    seed = 0

    def __init__(self, grid):
        self.grid = grid

    def __len__(self):
        return 8

    def __getitem__(self, key):
        return dict(tokens=torch.randint(16, (1, *self.grid), generator=torch.Generator().manual_seed(key[0])))


class Record(Hook):
    """The learning rate of each step, and the optimiser's state before the first."""
    priority = 'VERY_HIGH'

    def __init__(self):
        self.rates, self.losses, self.start = [], [], None

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        optimizer = runner.optim_wrapper.optimizer
        self.rates.append(optimizer.param_groups[0]['lr'])
        if self.start is None:
            names = {id(p): name for name, p in runner.model.named_parameters()}
            self.start = {names[id(p)]: {k: v.clone() for k, v in state.items()} for p, state in optimizer.state.items()}
            self.iteration, self.epoch = runner.iter, runner.epoch

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(outputs['loss'].item())


def run(folder, grid, batch_size, max_epochs, hooks=(), num_layers=1, **arguments):
    torch.manual_seed(0)
    model = MODELS.build(dict(
        type='Pretrainer', maskers=dict(video=dict(type='BlockMasker', num_blocks=2)), objectives=dict(mlm=dict(type='MLM')),
        backbone=dict(type='DividedTransformer', grid=grid, vocab_size=16, embed_dims=16, num_layers=num_layers, num_heads=2)))
    record = Record()
    schedule = dict(type='LinearLR', by_epoch=True, convert_to_iter_based=True)
    Runner(model, str(folder), train_dataloader=dict(
               dataset=Tokens(grid), batch_size=batch_size, num_workers=0, sampler=dict(type='ssvideo.DrawSampler')),
           train_cfg=dict(type='ssvideo.StreamTrainLoop', max_epochs=max_epochs),
           optim_wrapper=dict(optimizer=dict(type='AdamW', lr=PEAK, weight_decay=0.05),
                              paramwise_cfg=dict(norm_decay_mult=0, bias_decay_mult=0, bypass_duplicate=True)),
           param_scheduler=[schedule | dict(start_factor=0.1, begin=0, end=1),
                            schedule | dict(start_factor=1.0, end_factor=0.0, begin=1, end=EPOCHS)],
           custom_hooks=[record, *hooks],
           default_hooks=dict(checkpoint=dict(type='ssvideo.CheckpointHook', interval=1)), randomness=dict(seed=1),
           default_scope='mmaction', log_level='ERROR', experiment_name=str(folder), **arguments).train()
    return record


def stage_2(folder, checkpoint, **arguments):
    return run(folder, (2, 8, 6), 2, arguments.pop('max_epochs', EPOCHS), [dict(type='ssvideo.NextStageHook')],
               load_from=str(checkpoint), resume=True, **arguments)


@pytest.fixture(scope='module')
def stage_1(tmp_path_factory):
    folder = tmp_path_factory.mktemp('one')
    return folder / 'epoch_4.pth', run(folder, (2, 4, 3), 4, 4)


def saved_moments(checkpoint):
    """Moments by parameter name, from the file."""
    loaded = torch.load(checkpoint, weights_only=True)
    names = [name for name in loaded['state_dict'] if name != 'objectives.mlm.embedding']  # tied
    return dict(zip(names, loaded['optimizer']['state'].values())), loaded['state_dict']


def test_next_stage__moments_are_interpolated_with_the_positions(stage_1, tmp_path):
    checkpoint, _ = stage_1
    second = stage_2(tmp_path, checkpoint)
    saved, weights = saved_moments(checkpoint)
    assert saved.keys() == second.start.keys()
    for name, state in second.start.items():
        size = dict(height=8, width=6).get(name.split('.')[-1])
        for kind in ('exp_avg', 'exp_avg_sq'):
            expected = saved[name][kind] if size is None else interpolate_positions(saved[name][kind], size)
            assert torch.equal(state[kind], expected), name
        assert torch.equal(state['step'], saved[name]['step'])
    assert (second.start['backbone.positions.height']['exp_avg_sq'] >= 0).all()
    assert second.start['backbone.positions.height']['exp_avg'].abs().sum() > 0
    assert weights['backbone.positions.height'].shape == (4, 16)


def test_next_stage__iteration_and_schedule_are_carried_on(stage_1, tmp_path):
    """Half the batch: twice the iterations in an epoch, and the same learning rate in the same epoch."""
    checkpoint, first = stage_1
    second = stage_2(tmp_path, checkpoint)
    assert (second.epoch, second.iteration) == (4, 4 * 4)
    assert len(second.rates) == (EPOCHS - 4) * 4
    uninterrupted = run(tmp_path / 'whole', (2, 8, 6), 2, EPOCHS)
    assert second.rates == pytest.approx(uninterrupted.rates[16:], rel=1e-6)
    assert first.rates[-1] > second.rates[0] == pytest.approx(PEAK * 2 / 5, rel=0.1)
    assert second.rates[-1] < second.rates[0] / 4


def test_next_stage__its_own_checkpoint_is_resumed_as_it_is(stage_1, tmp_path):
    checkpoint, _ = stage_1
    whole = stage_2(tmp_path / 'whole', checkpoint)
    stage_2(tmp_path / 'cut', checkpoint, max_epochs=5)
    rest = stage_2(tmp_path / 'rest', tmp_path / 'cut' / 'epoch_5.pth')
    assert (rest.epoch, rest.iteration) == (5, 20)
    assert rest.losses == whole.losses[4:]
    assert rest.rates == whole.rates[4:]


def test_next_stage__another_architecture_is_refused(stage_1, tmp_path):
    with pytest.raises(ValueError, match='optimiser state of .* parameters, this model trains'):
        stage_2(tmp_path, stage_1[0], num_layers=2)


def test_next_stage__a_checkpoint_without_optimiser_is_refused(stage_1, tmp_path):
    loaded = torch.load(stage_1[0], weights_only=True)
    del loaded['optimizer']
    torch.save(loaded, tmp_path / 'weights.pth')
    with pytest.raises(ValueError, match='save_optimizer=True'):
        stage_2(tmp_path / 'run', tmp_path / 'weights.pth')


def test_advance_schedules__equals_stepping_one_by_one():
    from mmengine.optim import CosineAnnealingLR, LinearLR, OptimWrapper

    def build():
        weights = [torch.nn.Parameter(torch.zeros(2)) for _ in range(4)]
        optimizer = torch.optim.SGD([dict(params=[w], lr=lr) for w, lr in zip(weights, (1.0, 0.1, 1.0, 0.5))], lr=1.0)
        wrapper = OptimWrapper(optimizer)
        return optimizer, [LinearLR(wrapper, start_factor=0.1, end=7, by_epoch=False),
                           CosineAnnealingLR(wrapper, T_max=40, eta_min=0.05, begin=7, end=47, by_epoch=False)]

    optimizer, schedulers = build()
    states, groups = advance_schedules(schedulers, optimizer, epochs=3, epoch_length=10)
    slow_optimizer, slow = build()
    for _ in range(30):
        slow_optimizer.step()
        for scheduler in slow:
            scheduler.step()
    assert [group['lr'] for group in groups] == pytest.approx([group['lr'] for group in slow_optimizer.param_groups])
    for state, scheduler in zip(states, slow):
        expected = scheduler.state_dict()
        assert state.keys() == expected.keys()
        assert state['_last_value'] == pytest.approx(expected.pop('_last_value'))
        assert {key: state[key] for key in expected} == expected
