"""Whether every decoder gives the frames that were asked for: ``python tools/dev/frame_accuracy.py FOLDER --out table.md``.

Each file below the folder is decoded from start to end, the best stream as FFmpeg chooses it, which is the reference. Then
clips are asked for as data sets do: runs, unordered and repeated frames, the last ones; of a list that
tools/data/check_videos.py wrote, as far as it would keep the file. The table says for each decoder:

    identical      all were the frames of the reference (PyAV to the bit, others within 2 of 255 levels)
    PyAV: WHY      the decoder was not trusted with this file, PyAV took over, and its frames were the reference's
    refused: WHY   an error that names the file, and nothing else was returned
    shows damage   a frame came back that the reference decode reports as damaged; PyAV refuses it
    WRONG          a frame came back that is another; the tool then ends with status 1
"""
from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import av  # noqa: E402
import numpy as np  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from tqdm import tqdm  # noqa: E402

from ssvideo.datasets import BrokenFileError  # noqa: E402
from ssvideo.datasets.checked_files import Stamp  # noqa: E402
from ssvideo.datasets.checking import check_video  # noqa: E402
from ssvideo.datasets.decoders import DECODERS, VideoReader, check_decoder, read_frames  # noqa: E402
from ssvideo.datasets.decoders.choice import why_not  # noqa: E402
from ssvideo.datasets.time_limit import within  # noqa: E402
from ssvideo.utils.files import write_whole  # noqa: E402

LEVELS = 2
"""Of 255, by which other decoders' colours may differ."""


@dataclass
class Reference:
    """What decoding a file from start to end gives."""
    name: str = ''
    times: np.ndarray = field(default_factory=lambda: np.zeros(0))
    frames: list[np.ndarray] = field(default_factory=list)
    damaged: list[bool] = field(default_factory=list)
    """Of each frame, whether the decoder reported it, or an error since the last key frame."""
    error: str = ''


@dataclass
class Outcome:
    """What a decoder gave for one file."""
    handed: str = ''
    identical: int = 0
    difference: int = 0
    shows_damage: int = 0
    refused: Counter = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        said = []
        if self.wrong:
            said.append(f'WRONG in {len(self.wrong)} requests: {self.wrong[0]}')
        if self.handed:
            said.append(f'PyAV: {self.handed}')
        elif self.identical:
            said.append('identical' + (f' (colour within {self.difference})' if self.difference else ''))
        if self.shows_damage:
            said.append(f'shows damage in {self.shows_damage} requests')
        if self.refused:
            reason, total = self.refused.most_common(1)[0][0], self.refused.total()
            said.append(f'refused{f" {total} requests" if self.identical or self.shows_damage else ""}: {reason}')
        return '; '.join(said)


def reference_of(path: Path) -> Reference:
    """Decode a file from start to end with PyAV alone, going on after errors, and turned by the file's angle."""
    found, frames, failed = Reference(), [], False
    try:
        with av.open(f'file:{path}', metadata_errors='replace') as container:
            stream = container.streams.best('video')
            if stream is None:
                return Reference(error='no video stream')
            stream.codec_context.thread_count, stream.codec_context.thread_type = 1, 'NONE'
            found.name = f'{stream.codec_context.name} {stream.codec_context.pix_fmt}'
            rate = float(stream.average_rate or 25)
            for packet in container.demux(stream):
                try:
                    decoded = packet.decode()
                except av.FFmpegError as error:
                    decoded, failed, found.error = [], True, str(error.strerror)
                for frame in decoded:
                    failed = frame.is_corrupt or (failed and not frame.key_frame)
                    found.damaged.append(failed)
                    frames.append(frame.time)
                    found.frames.append(np.rot90(frame.to_ndarray(format='rgb24'), frame.rotation // 90))
    except (av.FFmpegError, OSError) as error:
        found.error = found.error or str(getattr(error, 'strerror', error))
    found.times = _times(frames, rate) if frames else found.times
    return found


def _times(stamps: list[float | None], rate: float) -> np.ndarray:
    if any(t is None for t in stamps) or np.any(np.diff(stamps) <= 0):  # AVI has no time stamps, only an order
        return np.arange(len(stamps)) / rate
    return np.array(stamps) - stamps[0]


def requests(num_frames: int, seed: int = 0) -> list[list[int]]:
    """Clips as data sets ask for them: strided runs, scattered and repeated frames, the last frames, backwards."""
    rng = random.Random(seed)
    runs = [list(range(rng.randrange(num_frames), num_frames, rng.randint(1, 8)))[:16] for _ in range(6)]
    scattered = [[rng.randrange(num_frames) for _ in range(4)] for _ in range(4)]
    last = list(range(max(num_frames - 4, 0), num_frames))
    return [*runs, *scattered, last, last[::-1], [num_frames - 1, 0, 0]]


def outcome_of(path: Path, decoder: str, reference: Reference, seconds: float, checked: Stamp) -> Outcome:
    """Ask a decoder for clips of a file and compare each frame with the reference; ``checked`` as the file's list has it."""
    outcome = Outcome()
    try:
        num_frames = within(seconds, str(path), VideoReader, path).num_frames
    except BrokenFileError as error:
        outcome.refused[error.reason] += 1
        return outcome
    if num_frames != len(reference.frames) and not reference.error:
        outcome.wrong.append(f'{num_frames} frames of {len(reference.frames)}')
    for indices in requests(num_frames):
        try:
            reader = within(seconds, str(path), VideoReader, path)
            outcome.handed = why_not(reader, decoder, checked) or ''
            frames = within(seconds, str(path), read_frames, reader, indices, decoder, checked)
            reader.close()
        except BrokenFileError as error:
            outcome.refused[error.reason] += 1
            continue
        exact = decoder == 'pyav' or bool(outcome.handed)
        _compare(outcome, reference, indices, reader.times[indices], frames, 0 if exact else LEVELS)
    return outcome


def _compare(outcome: Outcome, reference: Reference, indices: Sequence[int], times: np.ndarray, frames: list[np.ndarray],
             levels: int) -> None:
    """Count one request; frames are found in the reference by their time, as a damaged file may lack some."""
    difference = 0
    for index, time, frame in zip(indices, times, frames):
        at = int(np.abs(reference.times - time).argmin()) if len(reference.times) else -1
        there = at >= 0 and abs(reference.times[at] - time) < 1e-3
        if reference.error and (not there or reference.damaged[at]):
            outcome.shows_damage += 1
            return
        expected = reference.frames[at] if there else None
        if expected is None or expected.shape != frame.shape:
            outcome.wrong.append(f'frame {index} at {time:.3f} s is not there, or of another size')
            return
        difference = max(difference, int(np.abs(frame.astype(np.int16) - expected).max()))
        if difference > levels:
            outcome.wrong.append(f'frame {index} differs by up to {difference}')
            return
    outcome.identical += 1
    outcome.difference = max(outcome.difference, difference)


def report(rows: list[tuple[str, ...]], columns: tuple[str, ...]) -> str:
    """Print the table, and return it in markdown."""
    table = Table(*columns, show_lines=True)
    lines = ['| ' + ' | '.join(columns) + ' |', '|' + ' --- |' * len(columns)]
    for row in rows:
        table.add_row(*row)
        lines.append('| ' + ' | '.join(cell.replace('|', '\\|').replace('\n', ' ') for cell in row) + ' |')
    Console().print(table)
    return '\n'.join(lines) + '\n'


def main(argv: list[str] | None = None) -> int:
    """Compare, print, and write; returns 1 if a frame was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='searched recursively; clips of seconds, as their frames are held in memory')
    parser.add_argument('--out', type=Path, help='write the table here, in markdown')
    parser.add_argument('--time-limit', type=float, default=60.0, help='seconds for one opening or request')
    args = parser.parse_args(argv)
    paths = sorted(p for p in args.folder.rglob('*') if p.is_file() and p.suffix.lower() not in ('.md', '.txt', '.jsonl'))
    if not paths:
        sys.exit(f'error: {args.folder} holds no file')
    missing = {}
    for decoder in DECODERS:
        try:
            check_decoder(decoder)
        except ImportError as error:
            missing[decoder] = str(error)
    used = [decoder for decoder in DECODERS if decoder not in missing]
    rows, outcomes = [], []
    for path in tqdm(paths, desc='files'):
        reference = reference_of(path)
        checked = check_video(str(path)).get('stamp', Stamp())
        found = [outcome_of(path, decoder, reference, args.time_limit, checked) for decoder in used]
        outcomes += found
        frames = f'{len(reference.frames)} frames' + (f', then or between: {reference.error}' if reference.error else '')
        rows.append((str(path.relative_to(args.folder)), f'{reference.name}, {frames}'.lstrip(', '), *map(str, found)))
    text = report(rows, ('file', 'reference', *used))
    text += ''.join(f'\nNot installed: {decoder}. {reason}\n' for decoder, reason in missing.items())
    if args.out:
        write_whole(args.out, text)
    num_wrong, num_damaged = (sum(bool(getattr(o, kind)) for o in outcomes) for kind in ('wrong', 'shows_damage'))
    print(f'{len(paths)} files, decoders {", ".join(used)}: {num_wrong} wrong, {num_damaged} show damaged frames'
          + (f'; the table is in {args.out}' if args.out else ''))
    return 1 if num_wrong else 0


if __name__ == '__main__':
    sys.exit(main())
