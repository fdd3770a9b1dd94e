"""Features of many videos, a file for each."""
from __future__ import annotations

import io
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..datasets.broken import BrokenLog
from ..datasets.token_manifest import all_differences
from ..datasets.video_windows import SomeWindows, Window, WindowedVideos
from ..models.frozen_encoder import FrozenEncoder
from ..utils.files import write_whole
from ..utils.safetensors_file import write_safetensors
from .team import Team

FORMAT = 'ssvideo.video_features/1'
KINDS = ('safetensors', 'npz')


class FeatureExtraction:
    """Writes a file with the features of each video of a list: ``<out>/<path of the video>.<kind>``.

    A file is there whole or not at all, and what is there is not done again. Videos that cannot be read are listed in
    ``failed.jsonl`` and tried again by the next run.

    A file holds ``starts`` (windows,) in seconds, ``summary`` (windows, C), and perhaps ``tokens`` (windows, t, h, w, C).
    Files made with other settings or weights are not mixed: ``features.json`` has these.

    Args:
        encoder: with the weights, on the device.
        paths: of the videos.
        out: folder of the files.
        window: how videos are cut.
        about: what else the features depend on, in JSON's types, such as the checksum of the weights.
        team: the processes.
        kind: ``'safetensors'`` or ``'npz'``.
        tokens: whether the last map is written, too.
        precision: ``'float32'`` or ``'float16'``, of the files.

    Attributes:
        todo: paths of the videos that have no file yet.

    Raises:
        ValueError: if the folder holds features of other settings.
    """

    def __init__(self, encoder: FrozenEncoder, paths: Sequence[str], out: Path, window: Window, about: Mapping, team: Team,
                 kind: Literal['safetensors', 'npz'] = 'safetensors', tokens: bool = False,
                 precision: Literal['float32', 'float16'] = 'float32') -> None:
        self.encoder, self.out, self.window, self.team = encoder, Path(out), window, team
        self.kind, self.tokens, self.dtype = kind, tokens, getattr(torch, precision)
        self.about = dict(about, format=FORMAT, kind=kind, tokens=tokens, precision=precision, num_frames=window.num_frames,
                          fps=window.fps, size=window.size, stride=window.stride or window.seconds)
        self.num_videos = len(paths)
        self.todo = team.from_first(self._begin(paths) if team.rank == 0 else None)

    def file(self, path: str) -> Path:
        """With the features of a video; a path that leads out of the working folder counts from the root."""
        name = os.path.normpath(path)
        name = os.path.abspath(path) if name.startswith('..') else name
        return self.out / f'{name.lstrip(os.sep)}.{self.kind}'

    def run(self, batch_size: int, workers: int, advance: Callable[[int], None]) -> str:
        """Encode what has no file yet.

        Args:
            batch_size: windows encoded at once.
            workers: decoding processes of this process.
            advance: called with the number of videos that all processes have done in this run.

        Returns:
            What was done, in one line; '' for all processes but the first.

        Raises:
            ValueError: if features do not fit the precision.
        """
        own, failed = self.todo[self.team.rank::self.team.size], BrokenLog(self.out / 'failed.jsonl')
        windows = WindowedVideos(own, self.window, batch_size)
        loader = DataLoader(windows, batch_size=None, num_workers=workers)
        for number, found, reason in self._encoded(loader):
            if reason:
                failed.add(own[number], reason)
            else:
                self._write(own[number], found)
            advance(self.team.count())
        self.team.wait()
        return self._told() if self.team.rank == 0 else ''

    def _begin(self, paths: Sequence[str]) -> list[str]:
        manifest = self.out / 'features.json'
        if manifest.is_file():
            if others := all_differences(json.loads(manifest.read_text()), self.about):
                raise ValueError(f'{self.out} holds features of other settings ({"; ".join(others)}): choose another folder')
        else:
            write_whole(manifest, json.dumps(self.about, indent=1) + '\n')
        (self.out / 'failed.jsonl').unlink(missing_ok=True)  # all of these are tried again
        return [path for path in paths if not self.file(path).is_file()]

    def _encoded(self, loader: DataLoader) -> Iterator[tuple[int, dict[str, Tensor], str]]:
        """Number of a video, and its features, or the reason why there are none."""
        begun = defaultdict(lambda: defaultdict(list))  # of the windows so far, by video
        for some in loader:
            if not some.reason:
                for name, part in self._features(some).items():
                    begun[some.video][name].append(part)
            if some.last:
                parts = begun.pop(some.video, {})
                yield some.video, {name: torch.cat(part) for name, part in parts.items()}, some.reason

    def _features(self, some: SomeWindows) -> dict[str, Tensor]:
        features = self.encoder.encode_frames(some.frames)
        found = dict(summary=features.summary) | (dict(tokens=features.maps[-1]) if self.tokens else {})
        return dict(starts=torch.as_tensor(some.starts)) | {name: value.to(self.dtype).cpu() for name, value in found.items()}

    def _write(self, path: str, found: dict[str, Tensor]) -> None:
        if wrong := [name for name, value in found.items() if not value.isfinite().all()]:
            raise ValueError(f'{", ".join(wrong)} of {path} is not finite in {self.dtype}: choose --precision float32; where it '
                             'is that already, the weights are broken')
        if self.kind == 'safetensors':
            write_safetensors(self.file(path), found, dict(format=FORMAT, video=path))
        else:
            stream = io.BytesIO()
            np.savez(stream, **{name: value.numpy() for name, value in found.items()})
            write_whole(self.file(path), stream.getvalue())

    def _told(self) -> str:
        failures = self.out / 'failed.jsonl'
        num_failed = len(failures.read_text().splitlines()) if failures.is_file() else 0
        return (f'features of {self.num_videos - num_failed} of {self.num_videos} videos are in {self.out} '
                f'({len(self.todo) - num_failed} of them new)' + f'; {num_failed} failed, see {failures}' * bool(num_failed))
