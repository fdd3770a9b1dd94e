"""Make mmaction2's published wheel importable.

The wheel of mmaction2 1.2.0 lacks ``mmaction.models.localizers.drn`` (open-mmlab/mmaction2#2714), so
``import mmaction.models`` fails. A finder at the end of ``sys.meta_path`` supplies the missing module: nothing of
mmaction is imported until somebody asks, and a wheel that has the module never reaches the finder.
"""
from __future__ import annotations

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

DRN_MODULES = ('mmaction.models.localizers.drn', 'mmaction.models.localizers.drn.drn')


class _DrnLoader(Loader):
    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        module.DRN = _placeholder()


class _DrnFinder(MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        if fullname not in DRN_MODULES:
            return None
        return ModuleSpec(fullname, _DrnLoader(), is_package=fullname == DRN_MODULES[0])


def _placeholder() -> type:
    class DRN:
        """Stands where the wheel of mmaction2 has a hole."""

        def __init__(self, *args, **kwargs) -> None:
            raise ImportError('DRN is missing from the wheel of mmaction2 1.2.0 (open-mmlab/mmaction2#2714); '
                              'install mmaction2 from source to use it')

    return DRN


def mend_mmaction_wheel() -> None:
    """Let ``mmaction.models`` be imported from the published wheel; does nothing the second time."""
    if not any(isinstance(finder, _DrnFinder) for finder in sys.meta_path):
        sys.meta_path.append(_DrnFinder())
