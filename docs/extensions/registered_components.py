"""A directive that documents whatever a registry holds: ``{components} MODELS ssvideo.models.tokenizers``."""
from __future__ import annotations

import inspect

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.ext.autodoc.mock import mock
from sphinx.util.docutils import SphinxDirective


class Components(SphinxDirective):
    """One ``autoclass`` for each class that a registry of ``ssvideo.registry`` holds, in the order of their names.

    Args:
        registry: its name there.
        package: the module below which the classes lie; all if it is left out.

    Options:
        without: modules below which they do not lie, so that a class of a new module has its place.
    """
    required_arguments = 1
    optional_arguments = 1
    option_spec = {'without': str.split}

    def run(self) -> list[nodes.Node]:
        """The classes' entries."""
        package = self.arguments[1] if len(self.arguments) > 1 else 'ssvideo'
        left_out = tuple(f'{module}.' for module in self.options.get('without', ()))
        lines = []
        for _, found in registered(self.arguments[0], self.config.autodoc_mock_imports):
            place = f'{found.__module__}.'
            if place.startswith(f'{package}.') and not place.startswith(left_out):
                kind = 'class' if inspect.isclass(found) else 'function'
                lines += [f'.. auto{kind}:: {found.__module__}.{found.__qualname__}', '   :members:' * (kind == 'class'), '']
        if not lines:
            raise self.error(f'ssvideo.registry.{self.arguments[0]} has nothing below {package}')
        return self.parse_text_to_nodes(f'```{{eval-rst}}\n{chr(10).join(lines)}\n```')


def registered(name: str, mocked: list[str]) -> list[tuple[str, object]]:
    """Names and classes of a registry that are this package's own."""
    with mock(mocked):
        from ssvideo import registry
        found = getattr(registry, name)
        found.import_from_location()
    return sorted((key, value) for key, value in found.module_dict.items() if value.__module__.startswith('ssvideo.'))


def setup(app: Sphinx) -> dict:
    """Sphinx's way in."""
    app.add_directive('components', Components)
    return dict(parallel_read_safe=True)
