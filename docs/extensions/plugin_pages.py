"""The catalogue of plugins: the READMEs of the repository's plugins, one after the other."""
from __future__ import annotations

import os
import re

from repository_files import ROOT, anchor_of
from sphinx.application import Sphinx

PAGE = 'plugin_catalogue'


def append_readmes(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put the READMEs below what the page itself says."""
    if docname == PAGE:
        readmes = sorted((ROOT / 'plugins').glob('*/README.md'))
        source[0] += ''.join(f'\n({anchor_of(path.parent.name)})=\n{as_section(path)}\n' for path in readmes)


def as_section(path) -> str:
    """A README with its headings one level deeper and its links as seen from ``docs/``."""
    parts = re.split(r'(^```.*?^```)', path.read_text(), flags=re.M | re.S)  # every second one is code
    folder = os.path.relpath(path.parent, ROOT / 'docs')
    for number in range(0, len(parts), 2):
        parts[number] = re.sub(r'^#', '##', parts[number], flags=re.M)
        parts[number] = re.sub(r'\]\((?![a-z]+:|#)([^)]+)\)',
                               lambda link: f']({os.path.normpath(os.path.join(folder, link.group(1)))})', parts[number])
    return ''.join(parts)


def setup(app: Sphinx) -> dict:
    """Sphinx's way in."""
    app.connect('source-read', append_readmes)
    return dict(parallel_read_safe=True)
