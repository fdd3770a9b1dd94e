"""Files of checkpoints: there whole or not at all, and looked through before one is trusted."""
from __future__ import annotations

import errno
import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..utils.mmengine_checkpoints import read_checkpoint

POINTER = 'last_checkpoint'
"""The file in the work folder that names the newest checkpoint, as mmengine has it."""
INTERRUPTED = 'interrupted.pth'
"""Name of the checkpoint that a stopped run leaves; the next regular one takes its place."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Within this context a file is written under the yielded, temporary name; at its end it gets its own.

    At any moment, and after a crash at any moment, there is at ``path`` what was there before, or all of the new file.
    After an error the temporary file is removed.
    """
    temporary = path.with_name(f'.{path.name}.tmp')
    try:
        yield temporary
        _to_disk(temporary)
        os.replace(temporary, path)
        _to_disk(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_leftovers(folder: Path) -> list[Path]:
    """Remove the temporary files of a process that was killed in :func:`whole`; returns what was removed."""
    found = sorted(folder.glob('.*.pth.tmp')) + sorted(folder.glob(f'.{POINTER}.tmp'))
    for path in found:
        path.unlink(missing_ok=True)
    return found


def newest_checkpoint(folder: Path, template: str, since: int = 0) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that can be read; older ones take the place of broken ones.

    Args:
        folder: where they are.
        template: their names, ``'epoch_{}.pth'``; other files, such as the best of a validation, hold no optimiser.
        since: only files written after this time, in ns, as ``Path.stat`` tells it.

    Returns:
        The file, or None; and for each newer one why it is passed over.
    """
    name = re.compile('|'.join(('[0-9]+'.join(map(re.escape, template.split('{}'))), re.escape(INTERRUPTED))))
    written = [(path.stat().st_mtime_ns, path) for path in folder.glob('*') if name.fullmatch(path.name)]
    passed_over = []
    for time, path in sorted(written, reverse=True):
        if time < since:
            break
        try:
            check_checkpoint(path)
            return path, passed_over
        except ValueError as error:
            passed_over.append(str(error))
    return None, passed_over


def check_checkpoint(path: Path) -> None:
    """Read a checkpoint of ours through, and look whether it is one.

    Raises:
        ValueError: if it is cut off, a checksum is wrong, or it is no checkpoint of a training.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()  # torch itself does not look at the checksums
    except (OSError, zipfile.BadZipFile) as error:
        raise ValueError(f'{path} cannot be read: {error}') from error
    if broken:
        raise ValueError(f'{path} cannot be read: {broken} in it is damaged')
    content = read_checkpoint(path, mmap=True)
    if missing := {'meta', 'state_dict'} - content.keys():
        raise ValueError(f'{path} is not the checkpoint of a training: it lacks {sorted(missing)}')


def _to_disk(path: Path) -> None:
    """Wait until the file or the folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that cannot
            raise
    finally:
        os.close(descriptor)
