"""The recipe's batch on any number of processes."""
import pytest
from mmengine.config import Config

from ssvideo.engine.auto_accumulation import keep_global_batch


@pytest.fixture
def recipe(monkeypatch):
    def build(processes: int | None = None, batch_size: int = 4, streams: bool = True, **words) -> Config:
        loader = dict(batch_size=batch_size, dataset=dict(type='VideoList'))
        if processes is not None:
            monkeypatch.setenv('WORLD_SIZE', str(processes))
        return Config(dict(
            launcher='none' if processes is None else 'pytorch', global_batch=256,
            train_dataloader=dict(video=loader, image=dict(loader, batch_size=8 * batch_size)) if streams else loader,
            optim_wrapper=dict(accumulative_counts=2, optimizer=dict(type='AdamW', lr=5e-4)), **words))
    return build


@pytest.mark.parametrize(('processes', 'batch_size', 'streams', 'counts'), [
    (32, 4, True, 2), (8, 4, True, 8), (64, 4, True, 1), (1, 4, False, 64), (None, 8, False, 32), (16, 16, True, 1)])
def test_keep_global_batch__accumulates_what_processes_and_batch_size_leave_over(recipe, processes, batch_size, streams, counts):
    cfg = recipe(processes, batch_size, streams)
    line = keep_global_batch(cfg)
    assert cfg.optim_wrapper.accumulative_counts == counts
    assert cfg.optim_wrapper.optimizer.lr == 5e-4
    place = 'train_dataloader.video' if streams else 'train_dataloader'
    assert line == (f'{processes or 1} process(es) x {place}.batch_size={batch_size} x accumulative_counts={counts} = '
                    'global_batch=256: the learning rate stays')


def test_keep_global_batch__reads_what_each_launcher_sets(recipe, monkeypatch):
    for launcher, word in dict(slurm='SLURM_NTASKS', mpi='OMPI_COMM_WORLD_SIZE').items():
        cfg = recipe()
        cfg.launcher = launcher
        monkeypatch.setenv(word, '16')
        keep_global_batch(cfg)
        assert cfg.optim_wrapper.accumulative_counts == 4


@pytest.mark.parametrize(('processes', 'batch_size', 'advice'), [
    (3, 4, r'3 process.*=4 = 12 does not divide global_batch=256: take a number of processes that divides 256'),
    (8, 5, r'8 process.* = 40 does not divide.*can take batches of 1, 2, 4, 8, 16, 32; scale'),
    (64, 8, r'64 process.* = 512 does not divide.*can take batches of 1, 2, 4; scale')])
def test_keep_global_batch__refuses_with_advice_what_does_not_divide(recipe, processes, batch_size, advice):
    with pytest.raises(ValueError, match=advice):
        keep_global_batch(recipe(processes, batch_size))


def test_keep_global_batch__averages_weights_once_a_step(recipe):
    cfg = recipe(8, custom_hooks=[dict(type='EMAHook', momentum=0.0002), dict(type='ssvideo.PicturesHook')])
    keep_global_batch(cfg)
    assert cfg.custom_hooks == [dict(type='EMAHook', momentum=0.0002, interval=8), dict(type='ssvideo.PicturesHook')]


@pytest.mark.parametrize(('words', 'base'), [({}, 256), (dict(base_batch_size=512), 512)])
def test_keep_global_batch__leaves_the_batch_and_scales_the_rate_where_auto_scale_lr_is_enabled(recipe, words, base):
    cfg = recipe(12, auto_scale_lr=dict(enable=True, **words))
    line = keep_global_batch(cfg)
    assert cfg.optim_wrapper.accumulative_counts == 2 and not cfg.auto_scale_lr.enable
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(5e-4 * 12 * 4 * 2 / base)
    assert f'= 96 instead of {base}: the learning rate goes from 0.0005 to' in line


def test_keep_global_batch__does_nothing_where_a_recipe_does_not_ask(recipe):
    cfg = recipe(3)
    cfg.global_batch = None
    before = cfg.pretty_text
    assert keep_global_batch(cfg) is None and cfg.pretty_text == before
