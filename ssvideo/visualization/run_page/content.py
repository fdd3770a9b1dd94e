"""What a page is made of. All of it is plain text and bytes; the template escapes whatever it writes."""
from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, UnidentifiedImageError

PICTURE_TYPES = {'.png': 'image/png', '.jpg': 'image/jpeg', '.jpeg': 'image/jpeg', '.gif': 'image/gif'}
VIDEO_TYPES = {'.mp4': 'video/mp4', '.webm': 'video/webm'}


@dataclass
class Table:
    """Rows of texts; ``numeric`` sets the columns after the first to the right, ``folded`` hides it behind its caption."""
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ''
    numeric: bool = False
    folded: bool = False
    kind: str = 'table'


@dataclass
class Text:
    """A text of many lines, shown as it is, behind its title."""
    title: str
    text: str
    kind: str = 'text'


@dataclass
class Note:
    """A sentence; a ``warning`` stands out."""
    text: str
    warning: bool = False
    kind: str = 'note'


@dataclass
class Picture:
    """An image or a video inside the page.

    Args:
        caption: beneath it.
        described: what it shows, for those who do not see it.
        uri: ``data:`` with the whole file.
        size: width and height in pixels; ``None`` for a video.
    """
    caption: str
    described: str
    uri: str
    size: tuple[int, int] | None
    kind: str = 'picture'


@dataclass
class Section:
    """Things of one sort, beneath a heading."""
    title: str
    items: list = field(default_factory=list)


@dataclass
class Run:
    """A run's folder.

    Args:
        name: of the folder, below that of the page's.
        kind: what it is, in a few words.
        figures: label and value of what matters most.
        sections: in order; those without items are left out of the page.
        parts: runs in folders below.
    """
    name: str
    kind: str
    figures: list[tuple[str, str]]
    sections: list[Section]
    parts: list[Run]


def picture_of(path: Path, caption: str, described: str = '') -> Picture | Note:
    """A file as a part of the page; a warning where it cannot be shown."""
    content, suffix = path.read_bytes(), path.suffix.lower()
    size = None
    if suffix in PICTURE_TYPES:
        try:
            with Image.open(io.BytesIO(content)) as image:
                size = image.size
                image.load()
        except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:  # as Pillow raises them
            return Note(f'{path.name} cannot be shown: {error}', warning=True)
    kind = (PICTURE_TYPES | VIDEO_TYPES)[suffix]
    return Picture(caption, described or caption, f'data:{kind};base64,{base64.b64encode(content).decode()}', size)
