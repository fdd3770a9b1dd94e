"""Links of the pages to files of the repository lead to pages that show these files."""
from __future__ import annotations

import html
import os
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = {'.py': 'python', '.sh': 'bash', '.md': 'markdown', '.toml': 'toml', '.yaml': 'yaml'}


class RepositoryLinks(SphinxTransform):
    """Turns what MyST makes of a link out of ``docs/`` into a link to the page of that file.

    MyST would copy a file beside the pages, to be downloaded, and take a page or a folder for a missing one. What does not
    exist is left to MyST, which warns.
    """
    default_priority = 400

    def apply(self) -> None:
        """Replace the nodes of this document."""
        here = self.env.docname
        for node in [*self.document.findall(addnodes.download_reference), *self.document.findall(addnodes.pending_xref)]:
            path = self._path_of(node)
            if path is None or not path.exists() or path.is_relative_to(self.env.srcdir) or not path.is_relative_to(ROOT):
                continue
            page = page_of(path.relative_to(ROOT))
            if '#' not in page:
                listed(self.env).setdefault(here, set()).add(str(path.relative_to(ROOT)))
                page += '.html'
            link = nodes.reference('', '', *node.children, refuri=os.path.relpath(page, Path(here).parent), internal=True)
            node.replace_self(link)

    def _path_of(self, node: nodes.Element) -> Path | None:
        if node.get('reftype') != 'myst' or node['reftarget'].startswith('#'):
            return None
        folder = Path(self.env.srcdir)
        if node.get('refdomain') == 'doc':  # a name below docs/, without the suffix
            return (folder / f'{node["reftarget"]}.md').resolve()
        return (folder / Path(self.env.docname).parent / node['reftarget'].split('#')[0]).resolve()


def page_of(path: Path) -> str:
    """The page that shows a file or folder of the repository; of a plugin, its README's place in the catalogue."""
    if path.parts[0] == 'plugins' and (len(path.parts) == 2 and not path.suffix or path.parts[2:] == ('README.md',)):
        return f'plugin_catalogue.html#{anchor_of(path.parts[1])}'
    return f'files/{path}'


def anchor_of(plugin: str) -> str:
    """Where the README of a plugin stands in the catalogue."""
    return nodes.make_id(f'plugin-{plugin}')


def listed(env) -> dict[str, set[str]]:
    """The files that each page links to, kept from build to build."""
    if not hasattr(env, 'repository_files'):
        env.repository_files = {}
    return env.repository_files


def forget(app: Sphinx, env, docname: str) -> None:
    """A page is read anew."""
    listed(env).pop(docname, None)


def pages(app: Sphinx) -> Iterator[tuple[str, dict, str]]:
    """A page for each file that is linked to."""
    for name in sorted(set().union(*listed(app.env).values())):
        path = ROOT / name
        if path.is_dir():
            body = '<ul>' + ''.join(f'<li><code>{html.escape(entry)}</code></li>' for entry in entries(path)) + '</ul>'
        else:
            body = app.builder.highlighter.highlight_block(path.read_text(), LANGUAGES.get(path.suffix, 'text'))
        yield f'files/{name}', dict(parents=[], title=name, body=f'<h1>{html.escape(name)}</h1>{body}'), 'page.html'


def entries(folder: Path) -> list[str]:
    """What a folder holds, without what Python leaves there."""
    return sorted(entry.name + '/' * entry.is_dir() for entry in folder.iterdir() if entry.name != '__pycache__')


def setup(app: Sphinx) -> dict:
    """Sphinx's way in."""
    app.add_transform(RepositoryLinks)
    app.connect('env-purge-doc', forget)
    app.connect('html-collect-pages', pages)
    return dict(parallel_read_safe=False)
