"""From a run's folder to the page."""
from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from ...utils.files import write_whole
from ...version import __version__
from .folder import is_run, read_run


def write_page(folder: str | os.PathLike, out: str | os.PathLike | None = None) -> Path:
    """Write a page about a run, which opens anywhere, without a network.

    Args:
        folder: of a run of any kind, or of several, as the quickstart makes it.
        out: ``.html``; ``None``: ``report.html`` in the folder.

    Returns:
        The page.

    Raises:
        ValueError: if the folder is none, or holds nothing of a run.
    """
    folder = Path(folder)
    out = folder / 'report.html' if out is None else Path(out)
    if out.suffix.lower() not in ('.html', '.htm'):
        raise ValueError(f'{out}: expected a name that ends in .html')
    if not folder.is_dir():
        raise ValueError(f'{folder} is no folder: give the work_dir of a run')
    if not is_run(folder) and not any(part.is_dir() and is_run(part) for part in folder.iterdir()):
        raise ValueError(f'{folder} is not the folder of a run: expected logs (<time>/vis_data) or results.json in it or in a '
                         'folder below')
    # Everything that comes from files is escaped, and a name that the template gets wrong is an error.
    templates = Environment(loader=PackageLoader(__package__, '.'), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                            lstrip_blocks=True)
    written = datetime.now().astimezone().strftime('%Y-%m-%d %H:%M %Z')
    page = templates.get_template('page.html.jinja').render(run=read_run(folder), version=__version__, written=written)
    write_whole(out, page)
    return out
