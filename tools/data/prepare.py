"""Write the lists that recipes read from a data set's official annotations and the folder of its files; docs/data.md.

    python tools/data/prepare.py kinetics400 VIDEOS ANNOTATIONS
    python tools/data/prepare.py imagenet ILSVRC/Data/CLS-LOC [FOLDER_OF_LOC_val_solution.csv]

Files are looked up by name, however they are sorted into folders; they are neither opened nor moved: data/<set>/videos
becomes a link to them. What is missing is counted and listed in missing.txt, what is odd in problems.txt.
"""
from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from tqdm import tqdm  # noqa: E402

from ssvideo.datasets import ImageList, VideoList  # noqa: E402
from ssvideo.datasets.preparing.diving48 import read_diving48  # noqa: E402
from ssvideo.datasets.preparing.hmdb51 import read_hmdb51  # noqa: E402
from ssvideo.datasets.preparing.howto100m import read_howto100m  # noqa: E402
from ssvideo.datasets.preparing.imagenet import FOLDERS, read_imagenet  # noqa: E402
from ssvideo.datasets.preparing.kinetics import read_kinetics  # noqa: E402
from ssvideo.datasets.preparing.lists import FoundList, find_lists, write_lists  # noqa: E402
from ssvideo.datasets.preparing.media_files import MediaFiles  # noqa: E402
from ssvideo.datasets.preparing.published import PUBLISHED, RELEASE, Published  # noqa: E402
from ssvideo.datasets.preparing.release import Release  # noqa: E402
from ssvideo.datasets.preparing.something_something import read_something_something  # noqa: E402
from ssvideo.datasets.preparing.ucf101 import read_ucf101  # noqa: E402

READERS = dict(kinetics400=read_kinetics, kinetics600=read_kinetics, kinetics700=read_kinetics, ssv2=read_something_something,
               diving48=read_diving48, ucf101=read_ucf101, hmdb51=read_hmdb51, howto100m=read_howto100m)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('set', choices=(*READERS, 'imagenet'), help='name of the data set, as in data/<set>')
    parser.add_argument('files', type=Path, help='folder with its videos, or for imagenet with train/ and val/')
    parser.add_argument('annotations', type=Path, nargs='?', help='folder with its annotation files, unpacked')
    parser.add_argument('--out', type=Path, help='folder for the lists; default: data/<set>, where the configs look')
    args = parser.parse_args(argv)
    args.out = args.out or Path('data') / args.set
    if args.annotations is None and args.set != 'imagenet':
        parser.error(f'{args.set} needs the folder with its annotation files as well')
    return args


def main(argv: list[str] | None = None) -> None:
    """Write the lists, and say what is in them and what is not."""
    args = parse_args(argv)
    try:
        links = find_links(args.out, args.files, FOLDERS if args.set == 'imagenet' else None)
        release, files = read(args.set, args.files, args.annotations)
        lists = find_lists(release, files, partial(tqdm, desc='looking up', unit=' files', mininterval=1, leave=False))
        if not any(made.entries for made in lists):
            example = next(iter(files))
            raise ValueError(f'of {sum(made.num_named for made in lists)} videos that {args.annotations} names, none is below '
                             f'{args.files}. Expected such as {(lists[0].missing or ["(no name)"])[0]}, found {example}')
        names = write_lists(args.out, release, lists)
        for place, target in links.items():
            place.symlink_to(target)
    except ValueError as error:
        sys.exit(f'error: {error}')
    Console(soft_wrap=True).print(table(lists, PUBLISHED[args.set]))
    for line in remarks(release, lists, len(files), PUBLISHED[args.set]):
        print(line.encode(errors='backslashreplace').decode())  # names may have no valid encoding
    print(f'The lists are in {args.out}: {", ".join(f"{name}.txt" for name in names)}')


def find_links(out: Path, files: Path, folders: tuple[str, ...] | None) -> dict[Path, Path]:
    """The links by which configs find the files: ``videos``, or one for each of ``folders`` that is there.

    Raises:
        ValueError: if something else stands in the place of a link.
    """
    wanted = {out / 'videos': files} if folders is None else {out / folder: files / folder for folder in folders}
    links = {}
    for place, target in wanted.items():
        if not os.path.lexists(place):
            if target.is_dir():
                links[place] = target.resolve()
        elif place.resolve() != target.resolve():
            raise ValueError(f'{place} is there and is not {target}; move it away, or choose another --out')
    return links


def read(name: str, root: Path, annotations: Path | None) -> tuple[Release, MediaFiles]:
    """The annotations of a data set, and its files."""
    progress = partial(tqdm, desc='scanning', unit=' files', mininterval=1)
    if name == 'imagenet':
        files = MediaFiles(root, ImageList.suffixes, FOLDERS, progress)
        return read_imagenet(files, annotations), files
    release = READERS[name](annotations)  # first, as it fails sooner
    return release, MediaFiles(root, VideoList.suffixes, progress=progress)


def table(lists: list[FoundList], published: Published) -> Table:
    """What the annotations name, what was found, and what others had."""
    shown = Table()
    for title in ('list', 'named', 'found', 'missing', *published.counts):
        shown.add_column(title, justify='left' if title == 'list' else 'right')
    for made in lists:
        known = (counts.get(made.name) for counts in published.counts.values())
        shown.add_row(f'{made.name}.txt', *(f'{count:,}' for count in (made.num_named, len(made.entries), len(made.missing))),
                      *('' if count is None else f'{count:,}' for count in known))
    return shown


def remarks(release: Release, lists: list[FoundList], num_files: int, published: Published) -> list[str]:
    """Lines on what is not as it should be."""
    lines = list(release.notes)
    for made in lists:
        expected = published.counts.get(RELEASE, {}).get(made.name, made.num_named)
        if made.num_named != expected:
            lines.append(f'{made.name}: the annotations name {made.num_named:,}, the release {expected:,}')
        if made.missing:
            share = len(made.missing) / made.num_named
            lines.append(f'{made.name}: {len(made.missing):,} missing ({share:.1%}), such as {", ".join(made.missing[:3])}; '
                         'all in missing.txt')
    if release.classes is not None:
        if len(release.classes) != published.num_classes:
            lines.append(f'the annotations name {len(release.classes)} classes, the release {published.num_classes}')
        used = {label for made in lists if made.name.startswith('train') for label in made.entries.values()}
        if bare := [name for label, name in enumerate(release.classes) if label not in used]:
            lines.append(f'{len(bare)} classes without a training video, such as {", ".join(map(repr, bare[:3]))}')
    problems = [*(f'odd line: {line}' for line in release.odd), *(line for made in lists for line in made.problems)]
    if problems:
        lines.append(f'{len(problems)} problems, the first: {problems[0]}; all in problems.txt')
    if unused := num_files - len({path for made in lists for path in made.entries}):
        lines.append(f'{unused:,} files are in no list')
    return lines


if __name__ == '__main__':
    main()
