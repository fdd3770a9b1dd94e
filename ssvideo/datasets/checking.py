"""Looking through a list of videos before a run meets the broken ones."""
from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import av
import numpy as np

from ..utils.files import write_whole
from .broken import BrokenFileError
from .checked_files import Stamp, forget_checked, note_checked
from .decoders import VideoReader
from .entries import Entries, read_folder, read_lines, read_list
from .video_list import VideoList

Decode = Literal['all', 'ends', 'none']


def check_video(path: str, decode: Decode = 'all') -> dict:
    """See whether a video can be read.

    Args:
        path: of a local file.
        decode: 'all' frames, from the first to the last; the 'ends' (the first, the middle and the last frame); or 'none':
            the file is opened and its frames are counted, which decodes only a file without an index.

    Returns:
        ``{'frames': ..., 'seconds': ...}``, or ``{'reason': ...}`` if it cannot be read; with 'all' also ``'stamp'``, the
        file's :class:`~ssvideo.datasets.checked_files.Stamp`, unless it was changed meanwhile.
    """
    try:
        stamp = Stamp.of(path)
        reader = VideoReader(path)
        last = reader.num_frames - 1
        if decode == 'ends':
            reader.frames(sorted({0, last // 2, last}))
        reader.close()
        if decode == 'all' and (decoded := _num_decoded(reader)) != reader.num_frames:
            raise BrokenFileError(path, f'{decoded} of its {reader.num_frames} frames decode')
        found = dict(frames=reader.num_frames, seconds=round(reader.duration, 3))
        return found | dict(stamp=stamp) if decode == 'all' and stamp == Stamp.of(path) else found
    except BrokenFileError as error:
        return dict(reason=error.reason or str(error))


def check_entry(entry: tuple[int, str], decode: Decode) -> dict:
    """As :func:`check_video`, of an entry's number and path."""
    return check_video(entry[1], decode)


def _num_decoded(reader: VideoReader) -> int:
    """Decode from the first to the last frame, none of which is kept."""
    try:
        with av.open(f'file:{reader.local_path}', metadata_errors='replace',
                     container_options={'protocol_whitelist': 'file'}) as container:
            decoded = 0
            for frame in container.decode(video=_place_of_best(container)):
                if frame.is_corrupt:
                    raise BrokenFileError(reader.path, f'the frame at {frame.time} s is damaged')
                decoded += 1
            return decoded
    except (av.FFmpegError, OSError, ValueError) as error:
        raise BrokenFileError(reader.path, f'{type(error).__name__}: {getattr(error, "strerror", None) or error}') from error


def _place_of_best(container) -> int:
    """Of the video streams, the number of the one that FFmpeg takes for the best."""
    return [stream.index for stream in container.streams.video].index(container.streams.best('video').index)


class CheckedList:
    """What is known of the videos of a list or a folder, on disk from the moment it is known.

    Results stand in ``checked.jsonl`` in the order in which they come. Where an earlier check of the same videos was
    stopped, its results are taken over.

    Args:
        source: list or folder, as ``VideoList`` takes it.
        out: folder of the results.
        decode: see :func:`check_video`; results of another way to check are thrown away.
        labels: as for ``VideoList``.
        delimiter: as for ``VideoList``.
        data_root: as for ``VideoList``.

    Attributes:
        todo: numbers of the entries that are not checked yet.
        reasons: by number, why an entry cannot be read.

    Raises:
        ValueError: if the source does not exist or holds no video.
    """

    def __init__(self, source: Path, out: Path, decode: Decode = 'all', labels: bool | None = None, delimiter: str = ' ',
                 data_root: str | Path = '') -> None:
        self.source, self.out, self.decode, self.delimiter = source, out, decode, delimiter
        self.names: list[str] | None = None
        if source.is_dir():
            self.root = str(source)
            self.entries, self.names = read_folder(source, VideoList.suffixes, labels)
        elif source.is_file():
            self.root = str(data_root)
            self.entries: Entries = read_list(source, labels, delimiter)
        else:
            raise ValueError(f'{source} is neither a list nor a folder')
        if not len(self.entries):
            raise ValueError(f'{source} holds no video ({", ".join(sorted(VideoList.suffixes))})')
        self.frames = np.full(len(self.entries), -1, np.int64)  # -1: not checked, or cannot be read
        self.seconds = np.zeros(len(self.entries))
        self.stamps = np.full((len(self.entries), 2), -1, np.int64)
        self.reasons: dict[int, str] = {}
        self._take_over()
        known = self.frames >= 0
        known[list(self.reasons)] = True
        self.todo = np.flatnonzero(~known)

    def path(self, index: int) -> str:
        """Where the file of an entry is."""
        return os.path.join(self.root, self.entries.path(index))

    @contextmanager
    def recording(self) -> Iterator[CheckedList]:
        """Open ``checked.jsonl`` for :meth:`add`."""
        self.out.mkdir(parents=True, exist_ok=True)
        with open(self._record, 'a', buffering=1) as self._file:
            yield self

    def add(self, index: int, found: Mapping) -> None:
        """Keep what :func:`check_video` found."""
        self._file.write(json.dumps(dict(index=index, path=self.entries.path(index), **found)) + '\n')
        self._learn(index, found)

    @property
    def _record(self) -> Path:
        return self.out / 'checked.jsonl'

    def _learn(self, index: int, found: Mapping) -> None:
        if 'reason' in found:
            self.reasons[index] = found['reason']
        else:
            self.frames[index], self.seconds[index] = found['frames'], found['seconds']
            self.stamps[index] = found.get('stamp', Stamp())

    def _take_over(self) -> None:
        """Read what an earlier check has found; begin anew where it checked otherwise."""
        head = json.dumps(dict(decode=self.decode, stamps=self.decode == 'all')) + '\n'
        try:
            with open(self._record) as lines:
                if next(lines, '') == head:
                    ends = [self._take_over_line(line) for line in lines]
                    if ends and not ends[-1]:
                        with open(self._record, 'a') as file:
                            file.write('\n')  # after the line in which it was killed
                    return
        except FileNotFoundError:
            pass
        write_whole(self._record, head)

    def _take_over_line(self, line: str) -> bool:
        """Whether the line is whole."""
        try:
            found = json.loads(line)
            if found['index'] < len(self.entries) and self.entries.path(found['index']) == found['path']:
                self._learn(found['index'], found)
        except (ValueError, KeyError, TypeError):
            pass
        return line.endswith('\n')

    # -- when all are checked -----------------------------------------------------------------------------------------

    def finish(self) -> str:
        """Write ``clean.txt``, ``broken_videos.jsonl``, ``report.md`` and, for a folder of classes, ``classes.txt``.

        Where all frames were decoded, a note beside ``clean.txt`` says so, which decoders that do not tell damage ask for.

        Returns:
            What was found, in one line.
        """
        broken = {self.path(index): self.reasons[index] for index in sorted(self.reasons)}
        clean = (line + b'\n' for index, line in enumerate(self._lines()) if index not in self.reasons)
        write_whole(self.out / 'clean.txt', b''.join(clean))
        if self.decode == 'all':
            note_checked(self.out / 'clean.txt', np.delete(self.stamps, list(self.reasons), 0))
        else:
            forget_checked(self.out / 'clean.txt')
        write_whole(self.out / 'broken_videos.jsonl',
                    ''.join(json.dumps(dict(path=path, reason=reason)) + '\n' for path, reason in broken.items()))
        if self.names:
            write_whole(self.out / 'classes.txt', os.fsencode('\n'.join(self.names) + '\n'))
        write_whole(self.out / 'report.md', os.fsencode(self._report()))
        total, lost = len(self.entries), len(self.reasons)
        return f'{total - lost:,} of {total:,} videos can be read, {lost:,} cannot'

    def _lines(self) -> Iterator[bytes]:
        """The lines of the list as they are; of a folder, those that a list of it would have."""
        if self.source.is_file():
            yield from read_lines(self.source)
            return
        for i in range(len(self.entries)):
            label = self.entries.label(i)
            yield os.fsencode(self.entries.path(i) + ('' if label is None else f'{self.delimiter}{label}'))

    def _report(self) -> str:
        read = self.frames >= 0
        frames, seconds = self.frames[read], self.seconds[read]
        checked = {'all': 'every frame decoded', 'ends': 'first, middle and last frame decoded', 'none': 'opened'}[self.decode]
        rows = [('videos', f'{len(read):,} ({checked})'), ('can be read', f'{read.sum():,}'),
                ('cannot', f'{len(self.reasons):,} ({100 * len(self.reasons) / len(read):.2f} %)')]
        if len(frames):
            rows += [('hours', f'{seconds.sum() / 3600:,.2f}'), ('seconds', _spread(seconds, '.2f')),
                     ('frames', f'{frames.sum():,} in all; {_spread(frames, ".0f")}')]
        report = [f'# Check of {self.source}', '', '| | |', '| --- | --- |', *(f'| {name} | {value} |' for name, value in rows)]
        kinds = Counter(map(_kind, self.reasons.values()))
        if kinds:
            examples = {_kind(reason): self.path(index) for index, reason in sorted(self.reasons.items(), reverse=True)}
            report += ['', '| why a video cannot be read (N: a number) | videos | the first |', '| --- | --- | --- |',
                       *(f'| {kind} | {count:,} | {examples[kind]} |' for kind, count in kinds.most_common())]
        return '\n'.join(report) + '\n'


def _spread(values: Sequence[float], form: str) -> str:
    low, middle, high = (format(value, form) for value in (np.min(values), np.median(values), np.max(values)))
    return f'{low} to {high}, median {middle}'


def _kind(reason: str) -> str:
    """A reason without its numbers."""
    return re.sub(r'\d+(\.\d+)?', 'N', reason).replace('|', '/').replace('\n', ' ')
