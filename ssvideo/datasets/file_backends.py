"""Files wherever they are kept: on this machine, or behind one of mmengine's file backends."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

from mmengine.fileio import get_file_backend
from mmengine.fileio.backends import backends, prefix_to_backends

from .broken import BrokenFileError


def is_local(path: str, backend_args: Mapping | None = None) -> bool:
    """Whether a path is one of this machine's file system.

    It is unless ``backend_args`` names a backend other than 'local', or the path begins with a prefix that mmengine knows,
    such as ``s3://``, ``cluster:s3://`` or ``https://``.
    """
    if backend_args and 'backend' in backend_args:
        return backend_args['backend'] == 'local'
    return not _prefix(path)


def _prefix(path: str) -> str:
    start, mark, _ = path.partition('://')
    prefix = start.rpartition(':')[2]
    return prefix if mark and prefix in prefix_to_backends else ''


@contextmanager
def local_copy(path: str, backend_args: Mapping | None = None) -> Iterator[str]:
    """A file as one of this machine: itself, or a temporary copy that is removed at the end.

    Args:
        path: a local path, or an address that a backend understands.
        backend_args: as mmengine's ``get_file_backend`` takes them, such as ``dict(backend='petrel')``; None: the backend
            follows from the prefix of ``path``.

    Yields:
        A local path.

    Raises:
        ValueError: if there is no such backend.
        BrokenFileError: with the address, if the backend cannot get the file.
    """
    if is_local(path, backend_args):
        yield path
        return
    args = dict(backend_args or {})
    if 'backend' in args and args['backend'] not in backends:
        raise ValueError(f'backend_args: there is no backend {args["backend"]!r}, mmengine has {sorted(backends)}. One of '
                         'your own is registered with mmengine.fileio.register_backend, in a module of custom_imports')
    backend = get_file_backend(f'{_prefix(path)}://', backend_args=args, enable_singleton=True)
    # of its own suffix, which FFmpeg looks at where the content leaves it in doubt
    with NamedTemporaryFile(prefix='ssvideo-', suffix=Path(path).suffix) as file:
        try:
            file.write(backend.get(path))  # the one method that every backend has
            file.flush()
        except Exception as error:  # each client has errors of its own
            raise BrokenFileError(path, f'{type(error).__name__}: {error}') from error
        yield file.name
