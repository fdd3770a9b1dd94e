"""Each recipe starts from what the recipe before it writes: strictly, but for what it names."""
from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

import ssvideo.engine  # noqa: F401
import ssvideo.engine.hooks.strict_load as strict_load
from ssvideo.registry import HOOKS, MODELS

ROOT = Path(__file__).parents[2]
RECIPES = sorted(str(path.relative_to(ROOT / 'configs').with_suffix('')) for path in (ROOT / 'configs').rglob('*.py')
                 if '_base_' not in path.parts)
VIDEO, IMAGE = ([f'objectives.mvm.decoder.branches.{branch}.{layer}.{part}' for layer in layers for part in ('bias', 'weight')]
                for branch, layers in (('video', ('fuse', 'temporal_upsample', 'upsample')), ('image', ('fuse', 'upsample'))))
NOT_SHARED = {  # by recipe: what its start lacks, and what it has no use for
    'bevt_swin_b': (VIDEO, []), 'bevt_swin_b_peco': (VIDEO, []), 'bevt_swin_b_stored': (VIDEO, []),
    'quickstart/bevt_joint': (VIDEO, []), 'quickstart/bevt_video': (VIDEO, IMAGE), 'vimpac_large_256': ([], [])}
OPTIONAL = {'bevt_video_swin_b': (VIDEO, IMAGE)}  # Table 6, Init
STARTED = 'bevt_swin_b'  # from where these are told to start


@cache
def recipe(name: str) -> Config:
    """Read once; what changes it works on a copy."""
    return Config.fromfile(ROOT / 'configs' / f'{name}.py')


def recipe_before(name: str, file: str) -> str:
    """The recipe that writes a checkpoint, which has the name of the last one that it writes."""
    folder = Path(file).parent
    before = f'quickstart/{folder.name}' if 'quickstart' in folder.parts else folder.name.removesuffix('_peco')
    last = f'epoch_{recipe(before).train_cfg.max_epochs}.pth'
    assert Path(file).name in (last, 'last.pth') and before in RECIPES, f'{name} starts from {file}'
    return before


@cache
def model_of(name: str) -> torch.nn.Module:
    """Without memory, and without the frozen tokenizer, which no checkpoint holds."""
    model = copy.deepcopy(recipe(name).model)
    model.backbone.pop('init_cfg', None)
    if model.get('tokenizer') is not None:
        model.tokenizer, model.objectives.mvm.vocab_size = None, 8192
    with torch.device('meta'):
        return MODELS.build(model)


def start(name: str, weights: dict, monkeypatch) -> strict_load.LoadReport:
    """What the recipe's own hook says to a checkpoint."""
    reports, hook = [], HOOKS.build(recipe(name).default_hooks.strict_load)
    monkeypatch.setattr(strict_load, 'log_report', reports.append)
    runner = SimpleNamespace(_resume=False, _load_from='before.pth', model=model_of(name))
    hook.after_load_checkpoint(runner, dict(state_dict=weights))
    return reports[0]


@pytest.mark.parametrize('name', RECIPES)
def test_stages__every_recipe_that_trains_loads_strictly(name):
    hooks = recipe(name).get('default_hooks')
    assert 'train_cfg' not in recipe(name) or hooks.strict_load.type == 'ssvideo.StrictLoadHook'


def test_stages__these_start_from_another():
    assert NOT_SHARED.keys() == {name for name in RECIPES if recipe(name).get('load_from')}


@pytest.mark.parametrize('name', [*NOT_SHARED, *OPTIONAL])
def test_stages__a_recipe_starts_from_the_one_before(name, monkeypatch):
    before = recipe_before(name, recipe(STARTED if name in OPTIONAL else name).load_from)
    weights = model_of(before).state_dict()
    report = start(name, weights, monkeypatch)
    missing, unexpected = (NOT_SHARED | OPTIONAL)[name]
    assert (report.missing, report.unexpected) == (sorted(missing), sorted(unexpected))
    assert len(report.loaded) == len(model_of(name).state_dict()) - len(missing)
    for prefix in ('backbone.', 'objectives.'):  # and nothing more is allowed than what is meant
        lost = next(key for key in weights if key.startswith(prefix) and key in report.loaded)
        with pytest.raises(ValueError, match='is not what this recipe starts from'):
            start(name, {key: value for key, value in weights.items() if key != lost}, monkeypatch)
    with pytest.raises(ValueError, match="unexpected \\['fc.weight'\\]"):
        start(name, weights | {'fc.weight': torch.zeros(1)}, monkeypatch)


@pytest.mark.parametrize('name', [name for name in RECIPES if recipe(name).get('model', {}).get('backbone', {}).get('init_cfg')])
def test_stages__fine_tuning_takes_the_whole_backbone_of_the_pre_training(name):
    """mmengine's ``Pretrained`` with a prefix gives the backbone what follows; the backbone refuses anything else."""
    init = recipe(name).model.backbone.init_cfg
    before = model_of(recipe_before(name, init.checkpoint)).state_dict()
    weights = {key.removeprefix(init.prefix): value for key, value in before.items() if key.startswith(init.prefix)}
    backbone = model_of(name).backbone
    assert backbone.load_state_dict(dict(weights)) == ([], [])
    weights.pop(next(key for key in weights if 'norm' in key))
    with pytest.raises(ValueError, match='1 missing'):
        backbone.load_state_dict(weights)
