"""The documentation is built without a warning, and no link of it is broken."""
from __future__ import annotations

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from ssvideo import registry

ROOT = Path(__file__).parents[2]
ONLY_LINKS = ['-D', 'extensions=myst_parser,repository_files']


def build(source: Path, out: Path, *words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, '-m', 'sphinx', '-W', '--keep-going', '-q', '-c', str(ROOT / 'docs'), '-b', 'html',
               '-d', str(out.with_name('doctrees')), *words, str(source), str(out)]
    return subprocess.run(command, cwd=ROOT, env=os.environ | dict(OMP_NUM_THREADS='1'), text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=1800)


class Page(HTMLParser):
    """What a page of HTML links to, what it loads, and the anchors it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or '' for name, value in attrs}
        self.anchors.update(found[name] for name in ('id', 'name') if name in found)
        if 'href' in found:
            (self.links if tag == 'a' else self.loaded).add(found['href'])
        if 'src' in found:
            self.loaded.add(found['src'])


@pytest.fixture(scope='module')
def site(tmp_path_factory) -> dict[Path, Page]:
    """The pages of the site."""
    out = tmp_path_factory.mktemp('docs') / 'html'
    done = build(ROOT / 'docs', out)
    assert done.returncode == 0, done.stdout[-6000:]
    return {path: Page(path.read_text()) for path in out.rglob('*.html')}


def test_docs__every_link_leads_somewhere(site):
    broken = []
    for path, page in site.items():
        for link in page.links | page.loaded:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file() or parts.fragment and target in site and unquote(parts.fragment) not in site[target].anchors:
                broken.append(f'{path.name}: {link}')
    assert not broken
    assert len(site) > 20


def test_docs__load_nothing_from_elsewhere(site):
    assert not [(path.name, link) for path, page in site.items() for link in page.loaded if urlsplit(link).netloc]


def test_docs__every_page_is_there(site):
    root = next(path for path in site if path.name == 'index.html' and path.parent.name == 'html').parent
    pages = [path.relative_to(ROOT / 'docs').with_suffix('.html') for path in (ROOT / 'docs').rglob('*.md')]
    assert not [page for page in pages if root / page not in site]


def test_docs__the_reference_has_every_registered_component(site):
    anchors = set().union(*(page.anchors for page in site.values()))
    for name in ('MODELS', 'DATASETS', 'DATA_SAMPLERS', 'TRANSFORMS', 'LOOPS', 'HOOKS', 'OPTIM_WRAPPERS',
                 'OPTIM_WRAPPER_CONSTRUCTORS', 'METRICS'):
        components = getattr(registry, name)
        components.import_from_location()
        own = [found for found in components.module_dict.values() if found.__module__.startswith('ssvideo.')]
        assert own
        assert not [found for found in own if f'{found.__module__}.{found.__qualname__}' not in anchors]


def test_docs__a_broken_link_is_an_error(tmp_path):
    broken = ('../nowhere.py', 'no_page.md', '#no_heading', 'other.md#no_section')
    (tmp_path / 'source').mkdir()
    (tmp_path / 'source' / 'index.md').write_text(
        '\n\n'.join(['# A page', *(f'[something]({link})' for link in broken), '```{toctree}\nother\n```\n']))
    (tmp_path / 'source' / 'other.md').write_text('# Another\n')
    done = build(tmp_path / 'source', tmp_path / 'html', *ONLY_LINKS)
    assert done.returncode == 1
    assert not [link for link in broken if link.rsplit('#')[-1] not in done.stdout]
