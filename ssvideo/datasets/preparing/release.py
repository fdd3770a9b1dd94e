"""What the annotation files of a data set say, and how such files are read."""
from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

Named = tuple[str, str | None]  # a video as the annotations name it, without suffix, and its class


@dataclass
class Release:
    """The annotations of a data set.

    Args:
        classes: names of the classes in the order of the labels 0, 1, ...; None: the set has no labels.
        splits: by name of the list that is to be written, the videos: names without suffix, and class names. May be
            iterated once.
        together: name of a list with the videos of all splits, None for none.
        odd: ``file, line N: text`` of lines that are not as the format says; grows while splits are iterated.
        notes: what else a reader of the report must know.
    """

    classes: list[str] | None
    splits: dict[str, Iterable[Named]]
    together: str | None = None
    odd: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def call_odd(self, file: Path, number: int, text: object) -> None:
        """Note a line that is not as the format says."""
        self.odd.append(f'{file.name}, line {number}: {text}')


def find_file(folder: Path, *names: str) -> Path:
    """The annotation file that goes by one of several names.

    Args:
        folder: where it lies.
        names: patterns, the best first.

    Raises:
        ValueError: if there is none, or if a pattern fits several.
    """
    for name in names:
        found = sorted(folder.glob(name))
        if len(found) > 1:
            raise ValueError(f'{folder}: {name} fits {len(found)} files, such as {found[0].name} and {found[1].name}; '
                             'keep one of them there')
        if found:
            return found[0]
    there = ', '.join(sorted(path.name for path in folder.iterdir())[:8]) if folder.is_dir() else 'not a folder'
    raise ValueError(f'{folder} lacks {" or ".join(names)} (there: {there or "nothing"}); docs/data.md says where it is from')


def read_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is not empty, without blanks at its ends; any line ends, any encoding."""
    with open(file, encoding='utf-8-sig', errors='surrogateescape') as stream:
        for number, line in enumerate(stream, 1):
            if line := line.strip():
                yield number, line


def read_rows(file: Path, *columns: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Number of the line and fields of each row of a CSV file with a header.

    Raises:
        ValueError: if the header lacks one of ``columns``, or the file is no CSV.
    """
    with open(file, encoding='utf-8-sig', errors='surrogateescape', newline='') as stream:
        rows = csv.DictReader(stream, skipinitialspace=True)
        if lacking := [column for column in columns if column not in (rows.fieldnames or ())]:
            raise ValueError(f'{file}: its first line must name the columns {", ".join(columns)}, but lacks '
                             f'{", ".join(lacking)}: {rows.fieldnames}')
        try:
            for row in rows:
                yield rows.line_num, {key: (value or '').strip() for key, value in row.items() if isinstance(key, str)}
        except csv.Error as error:
            raise ValueError(f'{file}, line {rows.line_num}: {error}') from error


def read_json(file: Path, kind: type) -> list | dict:
    """A JSON file that holds a list or a dict.

    Raises:
        ValueError: if it holds something else, or is no JSON.
    """
    try:
        content = json.loads(file.read_text('utf-8-sig'))
    except ValueError as error:
        raise ValueError(f'{file} is not a JSON file: {error}') from error
    if not isinstance(content, kind):
        raise ValueError(f'{file}: expected a {kind.__name__}, got a {type(content).__name__}')
    return content
