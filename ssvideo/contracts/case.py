"""What a check is given, and what all kinds of component have in common."""
from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from unittest.mock import patch

import torch
from torch import Tensor, nn

from ..registry import MODELS

MISSPELT = 'a_misspelt_argument'


@dataclass
class Case:
    """A component, and what it is to be tried with; each kind adds its own.

    Args:
        part: the component. Checks change copies only.
        arguments: that it was built with; ``None`` where they are not known.
    """
    part: nn.Module | object
    arguments: Mapping | None = None

    def fresh(self):
        """A copy to work with."""
        return copy.deepcopy(self.part)


Check = Callable[[Case], None]
"""Raises ``AssertionError`` with what was found; the first sentence of its docstring is that of the contract."""


def sentence_of(check: Check) -> str:
    """What the contract says, and the check looks at."""
    return inspect.getdoc(check).split('\n\n')[0].replace('\n', ' ')


def run_checks(checks: Sequence[Check], case: Case) -> None:
    """Run one after the other.

    Raises:
        AssertionError: with the sentence of the contract that does not hold, and what was found.
    """
    for check in checks:
        try:
            check(case)
        except AssertionError as error:
            raise AssertionError(f'{type(case.part).__name__}: {sentence_of(check)} {error}') from error
        except Exception as error:
            raise AssertionError(f'{type(case.part).__name__}: {sentence_of(check)} It fails with {type(error).__name__}: '
                                 f'{error}') from error


# ---------------------------------------------------------------------------------------------- checks of every kind

def is_registered(case: Case) -> None:
    """A config can name it: it is registered in ``ssvideo.registry.MODELS``."""
    cls = type(case.part)
    MODELS.import_from_location()
    assert cls in MODELS.module_dict.values(), \
        f'{cls.__name__} is not: write @MODELS.register_module() before the class'


def refuses_a_misspelt_argument(case: Case) -> None:
    """A misspelt key of a config fails when the component is built: nothing swallows what it does not know."""
    cls = type(case.part)
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in inspect.signature(cls).parameters.values()):
        return  # Python itself refuses
    try:
        cls(**dict(case.arguments or {}), **{MISSPELT: 1})
    except TypeError as error:
        if MISSPELT in str(error) or case.arguments is None:
            return
        raise
    raise AssertionError(f'It was built with the unknown argument {MISSPELT!r}: name all arguments, without **kwargs.')


def is_copied(case: Case) -> None:
    """A deep copy is the same component: averages of weights are made of one."""
    _same(case.part, case.fresh(), 'a deep copy')


def is_pickled(case: Case) -> None:
    """What pickle reads back is the same component: processes hand it to each other so."""
    try:
        other = pickle.loads(pickle.dumps(case.part))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise AssertionError(f'pickle cannot write it: {error}. Functions and classes must be those of a module') from error
    _same(case.part, other, 'what pickle reads back')


def same_tensors(first: Mapping[str, Tensor], second: Mapping[str, Tensor], what: str) -> None:
    """Raise ``AssertionError`` unless two state dicts are equal."""
    assert list(first) == list(second), f'{what} has other names: {sorted(set(first) ^ set(second))[:5]}'
    other = [name for name in first if not torch.equal(first[name], second[name])]
    assert not other, f'{what} has other values of {other[:5]}'


def without_gradient(module: nn.Module, but: Sequence[str] = ()) -> list[str]:
    """Names of the trainable parameters that no gradient has reached, but for those that begin with one of ``but``."""
    return [name for name, parameter in module.named_parameters()
            if parameter.requires_grad and parameter.grad is None and not name.startswith(tuple(but))]


def shifted(module: nn.Module) -> nn.Module:
    """A copy whose weights are others; those that are not saved, as they have a file of their own, stay."""
    other, saved = copy.deepcopy(module), module.state_dict()
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            if name in saved:
                parameter.add_(1.0)
    return other


def compiled(module: nn.Module) -> nn.Module:
    """The module as one graph of ``torch.compile``; nothing is generated from it, so this takes seconds at most."""
    torch._dynamo.reset()  # graphs of other copies count against its limit
    return torch.compile(module, fullgraph=True, dynamic=False, backend='eager')


@contextmanager
def on_meta() -> Iterator[None]:
    """Within this context ``torch.autocast`` takes the meta device, which it knows nothing of, and does nothing for it."""
    plain = torch.autocast

    def autocast(device_type: str, dtype: torch.dtype | None = None, enabled: bool = True):
        return nullcontext() if device_type == 'meta' else plain(device_type, dtype, enabled)

    with patch('torch.autocast', autocast):
        yield


def not_one_graph(error: Exception) -> AssertionError:
    """What ``torch.compile`` says of where the graph breaks."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return AssertionError('it cannot: ' + '; '.join(lines[:4]))


def _same(part, other, how: str) -> None:
    if isinstance(other, nn.Module):
        same_tensors(part.state_dict(), other.state_dict(), how)
    else:
        assert type(other) is type(part) and vars(other).keys() == vars(part).keys(), f'{how} has other attributes'
