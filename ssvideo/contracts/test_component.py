"""The kit that tells an author whether a component is right.

    pytest --pyargs ssvideo.contracts --component mypackage.MyMasker
    pytest --pyargs ssvideo.contracts --component ssvideo.TubeMasker --component plugins/mine/config.py --plugin plugins/mine

One test for each check of the component's kind; a failure says what the contract says, and what was found.
"""
from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from ssvideo.contracts.case import Case, Check, sentence_of
from ssvideo.contracts.subjects import subjects_of
from ssvideo.utils.plugins import use_plugins

HERE = Path(__file__).parent


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each check of each component."""
    words = metafunc.config.getoption('--component')
    try:
        if not words:
            raise ValueError('the kit checks what --component names: ssvideo.NAME, package.module.NAME, or a config file')
        use_plugins(metafunc.config.getoption('--plugin'))
        found = [(word, subject) for word in words for subject in subjects_of(word)]
    except (ValueError, FileNotFoundError) as error:
        raise pytest.Collector.CollectError(f'{type(error).__name__}: {error}') from error
    cases = [pytest.param(subject.name, subject.case, check, id=f'{_shown(word, subject.name)}-{check.__name__}')
             for word, subject in found for check in subject.checks]
    metafunc.parametrize(('name', 'case', 'check'), cases)


def _shown(word: str, name: str) -> str:
    path = Path(word).absolute()
    return f'{path.parent.name}/{path.stem}-{name}' if word.endswith('.py') else word


def test_component__fulfils_its_contract(name: str, case: Case, check: Check) -> None:
    says = f'{name}, a {type(case.part).__name__}. The contract: {sentence_of(check)}'
    found = None
    try:
        check(case)
    except AssertionError as error:
        found = str(error)
    except Exception as error:
        found = f'it fails with {type(error).__name__}: {error}\n{"".join(traceback.format_list(outside(error)))}'
    if found is not None:
        pytest.fail(f'{says}\nFound: {found}', pytrace=False)


def outside(error: Exception) -> list[traceback.FrameSummary]:
    """The last lines at which it failed that are not the kit's or torch's own."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).parent != HERE and 'site-packages/torch' not in frame.filename]
    return (own or list(frames))[-3:]
