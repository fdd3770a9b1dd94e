"""A training starts from what the recipe expects, or not at all."""
from __future__ import annotations

import pytest
import torch

import ssvideo.engine.hooks.strict_load as module
from ssvideo.registry import MODELS
from tests.engine.pretraining_runs import MODEL, pretraining_run


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Starts a run from changed weights; the reports, and the model."""
    reports = []
    monkeypatch.setattr(module, 'log_report', reports.append)

    def start(change, **words):
        torch.manual_seed(1)
        weights = MODELS.build(MODEL).state_dict()
        change(weights)
        torch.save(dict(state_dict=weights), tmp_path / 'before.pth')
        runner = pretraining_run(tmp_path, load_from=str(tmp_path / 'before.pth'), name=len(reports), default_hooks=dict(
            strict_load=dict(type='ssvideo.StrictLoadHook', **words)))
        runner.load_or_resume()
        return weights, runner.model, reports[-1]
    return start


def change(weights):
    weights.pop('objectives.mlm.bias')
    weights['surprise.weight'] = torch.zeros(1)


def test_strict_load__all_there(started):
    weights, model, report = started(lambda weights: None)
    assert len(report.loaded) == len(weights) and not report.missing + report.unexpected + report.resized
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_strict_load__refuses_what_does_not_fit(started, tmp_path):
    with pytest.raises(ValueError, match=r"missing \['objectives.mlm.bias'\] \(1\), unexpected \['surprise.weight'\] \(1\)"):
        started(change)
    with pytest.raises(ValueError, match=r'missing \[\] \(0\), unexpected'):
        started(change, allow_missing=['objectives.mlm.'])
    weights, model, report = started(change, allow_missing=['objectives.mlm.'], allow_unexpected=['surprise'])
    assert 'missing        1' in str(report) and 'surprise.weight' in str(report)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items() if name in weights)
    with pytest.raises(ValueError, match='objectives.mlm.bias'):
        started(lambda weights: weights.update({'objectives.mlm.bias': torch.zeros(3)}))
    with pytest.raises(ValueError, match='a list of beginnings of names'):
        module.StrictLoadHook(allow_missing='objectives.')


def test_strict_load__another_grid_is_fitted(started):
    _, _, report = started(lambda weights: weights.update({'backbone.positions.height': torch.rand(5, 16)}))
    assert report.resized == ['backbone.positions.height: interpolated from 5 to 3 positions']
