"""Tokenize every video of a data set once, into a token store: ``python tools/extract_tokens.py CONFIG --out DIR``.

The config has ``tokenizer`` and ``dataset``; the data set gives whole videos as uint8 frames (``SampleWholeVideo``). A
run that was stopped goes on where it was when it is started again.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for custom_imports=['plugins.x'] from anywhere

import torch  # noqa: E402
from mmengine.config import Config, DictAction  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: E402
from torch.utils.data import DataLoader, Dataset  # noqa: E402

from ssvideo.datasets.broken import BrokenFileError, BrokenLog  # noqa: E402
from ssvideo.datasets.token_store import TokenStoreWriter  # noqa: E402
from ssvideo.datasets.transforms.sample import SampleWholeVideo  # noqa: E402
from ssvideo.engine.launch import check_names  # noqa: E402
from ssvideo.models.tokenizers import Tokenizer  # noqa: E402
from ssvideo.registry import DATASETS, MODELS  # noqa: E402
from ssvideo.utils.checksum import checksum_of  # noqa: E402


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file with tokenizer=dict(...) and dataset=dict(...)')
    parser.add_argument('--out', required=True, help='folder of the token store')
    parser.add_argument('--workers', type=int, default=2, help='processes that decode (0: decode between encoding)')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={},
                        help='override the config: key=value, nested keys with dots')
    return parser.parse_args(argv)


class Frames(Dataset):
    """The frames of some videos of a data set, or the reason why there are none."""

    def __init__(self, videos: Dataset, indices: list[int]) -> None:
        self.videos = videos
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> tuple[int, torch.Tensor | None, str]:
        index = self.indices[position]
        try:
            inputs = self.videos[index]['inputs']  # (1, 3, T, H, W)
        except BrokenFileError as error:
            return index, None, error.reason or str(error)
        if inputs.ndim != 5 or inputs.shape[:2] != (1, 3) or inputs.dtype != torch.uint8:
            raise ValueError(f'the pipeline gives {tuple(inputs.shape)} {inputs.dtype}, expected (1, 3, T, H, W) '
                             "uint8: end it with FormatShape(input_format='NCTHW') and PackActionInputs")
        return index, inputs, ''


def extract(cfg: Config, out: Path, workers: int, device: str) -> str:
    """Fill the store at ``out``.

    Args:
        cfg: ``tokenizer`` and ``dataset``.
        out: folder of the store.
        workers: decoding processes.
        device: of the tokenizer.

    Returns:
        What was done, in one line.

    Raises:
        ValueError: if the config does not fit, no video can be read, or ``out`` holds tokens of other settings.
    """
    tokenizer = MODELS.build(cfg.tokenizer).to(device).eval()
    videos = DATASETS.build(cfg.dataset)
    _check(tokenizer, videos)
    names = [videos.entries.path(i) for i in range(len(videos))]
    if len(set(names)) < len(names):
        raise ValueError('some videos of the data set have the same path: each can be stored once')
    failed = BrokenLog(_without(out / 'failed.jsonl'))  # those that failed are tried again
    first = _first_readable(Frames(videos, list(range(len(videos)))))
    writer = TokenStoreWriter(out, _manifest(tokenizer, videos, first))
    todo = [i for i, name in enumerate(names) if name not in writer]
    with _progress() as progress:
        bar = progress.add_task('tokenizing', total=len(names), completed=len(names) - len(todo))
        for index, frames, reason in _loaded(Frames(videos, todo), workers):
            reason = reason or _size_problem(frames, first)
            if reason:
                failed.add(names[index], reason)
            else:
                writer.write(names[index], _encode(tokenizer, frames, device), videos.entries.label(index))
            progress.advance(bar)
    num_stored, num_failed = len(writer), sum(name not in writer for name in names)
    writer.close()
    failures = f'; {num_failed} failed, see {out / "failed.jsonl"}' if num_failed else ''
    return f'{num_stored} videos are in {out} ({len(todo) - num_failed} of them new){failures}'


def _check(tokenizer: Tokenizer, videos: Dataset) -> None:
    if tokenizer.vocab_size is None:
        raise ValueError(f'{type(tokenizer).__name__} makes vectors; a token store holds ids')
    if not getattr(videos, 'test_mode', False):
        raise ValueError('dataset needs test_mode=True: in training a video that cannot be read is replaced by another')
    if not _whole_video(videos):
        raise ValueError("dataset.pipeline must begin with dict(type='ssvideo.SampleWholeVideo', fps=...)")


def _whole_video(videos: Dataset) -> SampleWholeVideo | None:
    return next((t for t in videos.transforms if isinstance(t, SampleWholeVideo)), None)


def _first_readable(frames: Frames) -> torch.Tensor:
    reasons = []
    for position in range(len(frames)):
        _, found, reason = frames[position]
        if found is not None:
            return found
        reasons.append(reason)
    raise ValueError(f'none of the {len(frames)} videos can be read; the first: {reasons[0]}')


def _manifest(tokenizer: Tokenizer, videos: Dataset, first: torch.Tensor) -> dict:
    sampling, size, stride = _whole_video(videos), tuple(first.shape[-2:]), tokenizer.stride
    if any(side % step for side, step in zip(size, stride[1:])):
        raise ValueError(f'frames of {size[0]} x {size[1]} do not divide by the stride {stride[1:]} of '
                         f'{type(tokenizer).__name__}: change the crop')
    return dict(tokenizer=checksum_of(tokenizer), fps=sampling.fps, frame_interval=sampling.frame_interval, size=size,
                grid=(size[0] // stride[1], size[1] // stride[2]), vocab_size=tokenizer.vocab_size)


def _size_problem(frames: torch.Tensor, first: torch.Tensor) -> str:
    size, expected = tuple(frames.shape[-2:]), tuple(first.shape[-2:])
    return '' if size == expected else f'its frames come out as {size}, others as {expected}: crop to one size'


@torch.inference_mode()
def _encode(tokenizer: Tokenizer, frames: torch.Tensor, device: str) -> torch.Tensor:
    """One video at a time, so that its ids do not depend on its neighbours in a batch; the tokenizer cuts it up."""
    parts = [tokenizer(part.to(device).float() / 255)[0].cpu() for part in frames.split(_FRAMES_AT_ONCE, dim=2)]
    return torch.cat(parts)  # (t, h, w)


_FRAMES_AT_ONCE = 256  # as floats on the device; a multiple of every tokenizer's chunk and temporal stride


def _loaded(frames: Frames, workers: int) -> Iterator[tuple[int, torch.Tensor | None, str]]:
    return iter(DataLoader(frames, batch_size=None, num_workers=workers, prefetch_factor=2 if workers else None))


def _without(path: Path) -> Path:
    path.unlink(missing_ok=True)
    return path


class _Rate(TextColumn):
    def __init__(self) -> None:
        super().__init__('')

    def render(self, task):
        """Videos a second, since this run was started."""
        self.text_format = f'{task.speed:.1f} videos/s' if task.speed else ''
        return super().render(task)


def _progress() -> Progress:
    return Progress(TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())


def main(argv: list[str] | None = None) -> None:
    """Extract, and say where the results are, or in one line why there are none."""
    args = parse_args(argv)
    try:
        cfg = Config.fromfile(args.config)
        cfg.merge_from_dict(args.cfg_options)
        check_names(cfg)
        init_default_scope(cfg.get('default_scope', 'mmaction'))
        if missing := {'tokenizer', 'dataset'} - set(cfg):
            raise ValueError(f'{args.config} lacks {sorted(missing)}')
        print(extract(cfg, Path(args.out), args.workers, args.device))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
