"""Every registered component fulfils the contract of its kind."""
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import components  # noqa: E402

import ssvideo.models  # noqa: E402, F401
from ssvideo.contracts import check_backbone, check_masker, check_objective, check_tokenizer  # noqa: E402
from ssvideo.contracts.case import Case, is_pickled, is_registered, run_checks  # noqa: E402
from ssvideo.contracts.model import MODEL_CHECKS, ModelCase, runs_on_any_device  # noqa: E402
from ssvideo.evaluation.random_batches import random_batch  # noqa: E402
from ssvideo.registry import MODELS  # noqa: E402
from ssvideo.structures import MaskedTokens  # noqa: E402


def cases(table):
    return [pytest.param(name, arguments, id=f'{name}-{i}') for name, rows in table.items() for i, arguments in enumerate(rows)]


def of_the_core():
    return sorted(name for name, cls in MODELS.module_dict.items() if cls.__module__.startswith('ssvideo.'))


def test_components__all_are_covered():
    covered = {*components.MASKERS, *components.BACKBONES, *components.OBJECTIVES, *components.DECODERS,
               *components.TRAINERS, *components.COMPOSITIONS, *components.TOKENIZERS}
    assert set(of_the_core()) == covered, 'a new component needs a case in tests/components.py'


@pytest.mark.parametrize('name', of_the_core())
def test_components__a_misspelt_key_fails_when_it_is_built(name, tmp_path):
    tables = {**components.MASKERS, **components.BACKBONES, **components.DECODERS, **components.TRAINERS,
              **components.tokenizer_cases(tmp_path),
              **{key: [row[0] for row in rows] for key, rows in components.OBJECTIVES.items()},
              'ClipPreprocessor': [dict()], 'DeviceAugment': [dict(size=8)],
              'ClipClassifier': [dict(backbone=dict(type='VideoSwin'), num_classes=2)],
              'Pretrainer': [dict(backbone={}, maskers={}, objectives={})]}
    arguments = dict(tables[name][0], mask_ration=0.5)
    if name in components.OBJECTIVES:
        arguments['backbone'] = None
    with pytest.raises(TypeError, match='mask_ration') as error:
        MODELS.build(dict(type=name, **arguments))
    assert name in str(error.value), 'the error names the class'


@pytest.mark.parametrize(('name', 'arguments'), cases({**components.MASKERS, **components.BACKBONES, **components.DECODERS}))
def test_components__can_be_named_and_sent(name, arguments):
    run_checks((is_registered, is_pickled), Case(MODELS.build(dict(type=name, **arguments))))


@pytest.mark.parametrize('name', ['Pretrainer', 'ClipClassifier', *components.TRAINERS])
def test_models__fulfil_the_contract(name):
    torch.manual_seed(0)
    backbone = dict(type='DividedTransformer', **components.BACKBONES['DividedTransformer'][0])
    tokens = dict(batch_size=2, dataset=dict())
    pictures = dict(batch_size=4, dataset=dict(pipeline=[
        dict(type='ssvideo.SampleClips', clip_len=1, num_clips=1), dict(type='RandomCrop', size=16)]))
    arguments, loaders = {
        'Pretrainer': (dict(backbone=backbone, maskers=dict(video=dict(type='BlockMasker')),
                            objectives=dict(mlm=dict(type='MLM'))), dict(video=tokens)),
        'ClipClassifier': (dict(backbone=backbone, num_classes=3), tokens),
        **{trainer: (rows[0], dict(image=pictures)) for trainer, rows in components.TRAINERS.items()}}[name]
    model = MODELS.build(dict(type=name, **arguments))
    # DalleVAE asks the device once a step whether its codebook is set
    checks = [check for check in MODEL_CHECKS if name not in components.TRAINERS or check is not runs_on_any_device]
    case = ModelCase(model, batch=random_batch(model, loaders))
    run_checks((is_registered, *checks, is_pickled), case)


@pytest.mark.parametrize(('name', 'arguments'), cases(components.MASKERS))
def test_maskers__fulfil_the_contract(name, arguments):
    check_masker(MODELS.build(dict(type=name, **arguments)))


@pytest.mark.parametrize(('name', 'arguments'), cases(components.BACKBONES))
def test_backbones__fulfil_the_contract(name, arguments):
    torch.manual_seed(0)
    backbone = MODELS.build(dict(type=name, **arguments))
    check_backbone(backbone, components.inputs_of(backbone), components.GRID)


@pytest.mark.parametrize('name', components.TOKENIZERS)
def test_tokenizers__fulfil_the_contract(name, tmp_path):
    for arguments in components.tokenizer_cases(tmp_path)[name]:
        check_tokenizer(MODELS.build(dict(type=name, **arguments)).eval())


@pytest.mark.parametrize(('name', 'case'), cases(components.OBJECTIVES))
def test_objectives__fulfil_the_contract(name, case):
    arguments, backbone_name = case
    torch.manual_seed(0)
    backbone = MODELS.build(dict(type=backbone_name, **components.BACKBONES[backbone_name][0]))
    objective = MODELS.build(dict(type=name, **arguments), default_args=dict(backbone=backbone))
    inputs = components.inputs_of(backbone)
    mask = torch.rand(len(inputs), *components.GRID) < 0.3
    masked = MaskedTokens(tokens=torch.randint(16, (len(inputs), *components.GRID)), mask=mask,
                          positions=mask.flatten().nonzero().squeeze(1), num_views=2)
    check_objective(objective, backbone(inputs, mask), masked)
