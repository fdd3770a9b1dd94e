"""A page that the index does not name stands at the end of the list of pages."""
from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx


def append_pages(app: Sphinx, docname: str, source: list[str]) -> None:
    """Add a toctree of the pages that none of the index names."""
    if docname == 'index':
        named = set(re.findall(r'^[\w/]+$', source[0], re.M))
        others = sorted({path.stem for path in Path(app.srcdir).glob('*.md')} - named - {'index'})
        if others:
            source[0] += '\n'.join(['\n```{toctree}', ':caption: More', ':hidden:', '', *others, '```', ''])


def setup(app: Sphinx) -> dict:
    """Sphinx's way in."""
    app.connect('source-read', append_pages)
    return dict(parallel_read_safe=True)
