from __future__ import annotations

import json

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from mmengine.visualization import LocalVisBackend

from ssvideo.visualization import draw_curves, read_scalars
from ssvideo.visualization.curves import COLOURS


def log(work_dir, timestamp: str, steps: dict[int, dict]) -> None:
    """Write a log as mmengine's runner does."""
    backend = LocalVisBackend(str(work_dir / timestamp / 'vis_data'))
    for step, values in steps.items():
        backend.add_scalars({**values, 'iter': step}, step=step)


def test_read_scalars__reads_what_mmengine_writes(tmp_path):
    log(tmp_path, '20240101_000000', {10: {'loss': 2.0, 'lr': 0.1}, 20: {'loss': float('nan'), 'name': 'text'}})
    LocalVisBackend(str(tmp_path / '20240101_000000' / 'vis_data')).add_scalars({'acc/top1': 0.5}, step=20)
    scalars = read_scalars(tmp_path)
    assert set(scalars) == {'loss', 'lr', 'acc/top1'}
    assert scalars['loss'][0] == (10, 2.0) and np.isnan(scalars['loss'][1][1])
    assert scalars['acc/top1'] == [(20, 0.5)]


def test_read_scalars__resumed_run_replaces_from_its_first_step_on(tmp_path):
    log(tmp_path, '20240101_000000', {10: {'loss': 1.0}, 20: {'loss': 2.0}, 30: {'loss': 3.0}, 40: {'loss': 4.0}})
    log(tmp_path, '20240102_000000', {30: {'loss': 33.0}})
    assert read_scalars(tmp_path)['loss'] == [(10, 1.0), (20, 2.0), (30, 33.0)]


def test_read_scalars__fresh_run_replaces_older_ones_altogether(tmp_path):
    log(tmp_path, '20240101_000000', {10: {'loss': 1.0, 'old_loss': 1.0}, 20: {'loss': 2.0, 'old_loss': 1.0}})
    log(tmp_path, '20240102_000000', {10: {'loss': 5.0}})
    assert read_scalars(tmp_path) == {'loss': [(10, 5.0)]}


def test_read_scalars__nothing_logged_is_empty(tmp_path):
    assert read_scalars(tmp_path) == {}


def test_read_scalars__torn_last_line_is_left_out_and_another_is_an_error(tmp_path):
    log(tmp_path, '20240101_000000', {10: {'loss': 1.0}})
    file = tmp_path / '20240101_000000' / 'vis_data' / 'scalars.json'
    whole = file.read_text()
    file.write_text(whole + '{"loss": 2.0, "st')
    assert read_scalars(tmp_path) == {'loss': [(10, 1.0)]}
    file.write_text('{"loss": 2.0, "st\n' + whole)
    with pytest.raises(ValueError, match=r'scalars\.json, line 1: .* one JSON object a line'):
        read_scalars(tmp_path)
    file.write_text(json.dumps({'loss': 1.0}) + '\n' + whole)
    with pytest.raises(ValueError, match='integer "step"'):
        read_scalars(tmp_path)


def has_colour(path, colour: str) -> bool:
    return (np.abs(imread(path)[..., :3] - to_rgb(colour)).max(-1) < 0.01).sum() > 20


def test_draw_curves__one_line_for_each_series(tmp_path):
    series = {'a': [(0, 1.0), (10, 0.2)], 'none': [], 'b': [(0, 0.1), (10, 0.9)]}
    path = draw_curves(series, tmp_path / 'curves.png', 'Title', 'loss', chance=0.5)
    assert [file.name for file in tmp_path.iterdir()] == ['curves.png']
    assert [has_colour(path, colour) for colour in COLOURS] == [True, True, False, False, False, False]
    without = draw_curves(series, tmp_path / 'without.png', 'Title', 'loss')
    assert path.read_bytes() != without.read_bytes()


def test_draw_curves__a_single_point_is_seen(tmp_path):
    assert has_colour(draw_curves({'a': [(3, 1.0)]}, tmp_path / 'point.png', 'Title', 'loss'), COLOURS[0])


def test_draw_curves__nothing_to_draw_is_refused(tmp_path):
    with pytest.raises(ValueError, match='no points'):
        draw_curves({'a': []}, tmp_path / 'x.png', 'Title', 'loss')
