"""What tokenizing costs, and what each way to save does: ``python tools/analysis_tools/benchmark_tokenizer.py``.

All ways are run in turn (A B C, A B C, ...), so that other work on the machine falls on each alike; a ratio is the median over
the rounds of the time of the first way over its own, in the same round.
"""
from __future__ import annotations

import argparse
import gc
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from PIL import Image  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from torch import Tensor  # noqa: E402

from ssvideo.datasets import VideoList  # noqa: E402
from ssvideo.models.layers.dalle_blocks import DalleEncoder, squeeze_range  # noqa: E402
from ssvideo.models.layers.resize_pixels import FILTERS, resize_pixels  # noqa: E402
from ssvideo.models.maskers import TubeMasker  # noqa: E402
from ssvideo.models.tokenizers import DalleTokenizer  # noqa: E402
from ssvideo.models.tokenizers.dalle_checkpoint import load_dalle, save_dalle  # noqa: E402
from ssvideo.utils.files import write_whole  # noqa: E402

PUBLISHED = dict(hidden_dims=256, num_blocks=2, vocab_size=8192)
BEVT_GRID = (16, 14, 14)  # tokens of a clip of 16 frames, 224 x 224
COLUMNS = ('way', 'frames/s', 'against the first', 'same values', 'peak memory')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--size', type=int, default=112, help='side of the view in pixels; frames are twice as large')
    parser.add_argument('--batch', type=int, default=64, help='frames tokenized at once')
    parser.add_argument('--checkpoint', help='a DALL-E tokenizer; default: the published size, random weights (seed 0)')
    parser.add_argument('--videos', help='folder or list of videos to take the frames from; default: random blots')
    parser.add_argument('--repeats', type=int, default=5, help='rounds')
    parser.add_argument('--threads', type=int, help="of the CPU; default: torch's")
    parser.add_argument('--markdown', type=Path, help='also write the tables to this file')
    args = parser.parse_args(argv)
    if args.size < 8 or args.size % 8 or min(args.batch, args.repeats) < 1:
        parser.error(f'--size must be a multiple of 8, --batch and --repeats at least 1; got {args.size}, {args.batch} and '
                     f'{args.repeats}')
    return args


@dataclass
class Way:
    """One way to do the same.

    Args:
        name: what it is called in the table.
        run: does it, and returns the result, one entry a frame.
        frames: what is counted, which may be more than what is computed.
        like: the way whose result it should give; the share of equal values is told.
    """
    name: str
    run: Callable[[], Tensor]
    frames: int
    like: Way | None = None
    result: Tensor | None = None
    seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0

    @property
    def agreement(self) -> float | None:
        """Share of values that are those of ``like``, on the frames that both have."""
        if self.like is None:
            return None
        return (self.result == self.like.result[:len(self.result)]).float().mean().item()


def measure(ways: list[Way], repeats: int, device: torch.device) -> None:
    """Run the ways in turn, once to warm up, which gives the results, and then ``repeats`` rounds, which give the times."""
    for way in ways:
        way.result = way.run().detach()
    for way in ways * repeats:
        gc.collect()
        seconds, peak = timed(way.run, device)
        way.seconds.append(seconds)
        way.peak_bytes = max(way.peak_bytes, peak)


def timed(run: Callable[[], Tensor], device: torch.device) -> tuple[float, int]:
    """Seconds of one run, waiting for the device, and the most bytes allocated on a GPU meanwhile (CPU: 0)."""
    on_cuda = device.type == 'cuda'
    if on_cuda:
        torch.cuda.reset_peak_memory_stats(device)
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    result = run()
    if on_cuda:
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - start
    del result
    return seconds, torch.cuda.max_memory_allocated(device) if on_cuda else 0


def share_of_needed_frames(num_draws: int = 2000) -> float:
    """How many frames of a clip hold a masked token, under BEVT's published tube masks."""
    masker, rng = TubeMasker(mask_ratio=0.5, tube_length=(0.5, 1.0), temporal_stride=2), random.Random(0)
    return masker(BEVT_GRID, num_draws, rng).flatten(2).any(2).float().mean().item()


# -------------------------------------------------------------------------------------------------------- what is timed

def encoding_ways(checkpoint: str | Path, views: Tensor) -> list[Way]:
    """From the plain way to the fastest, each with what the one before has.

    Args:
        checkpoint: tokenizer file.
        views: ``(M, 3, size, size)`` in [0, 1], on the device.
    """
    frames, num_needed = len(views), max(round(share_of_needed_frames() * len(views)), 1)
    clip = views.transpose(0, 1)[None]  # (1, 3, M, size, size)
    plain = load_dalle(checkpoint)[0].to(views.device)
    tokenizers = {precision: DalleTokenizer(checkpoint, precision=precision).to(views.device)
                  for precision in ('float32', 'bfloat16')}

    def as_loaded() -> Tensor:
        return plain(squeeze_range(views)).argmax(1)

    def tokenized(precision: str, num: int = frames) -> Tensor:
        return tokenizers[precision](clip[:, :, :num])[0]

    inference, some = torch.inference_mode(), f'+ only frames with a masked token ({num_needed} of {frames})'
    first = Way('plain: float32, NCHW, gradients recorded', as_loaded, frames)
    return [first,
            Way('+ inference mode', inference(as_loaded), frames, first),
            Way('+ channels last', inference(lambda: tokenized('float32')), frames, first),
            Way(some, inference(lambda: tokenized('float32', num_needed)), frames, first),
            Way('+ bfloat16', inference(lambda: tokenized('bfloat16', num_needed)), frames, first)]


def view_ways(crops: Tensor, size: int, device: torch.device) -> list[Way]:
    """Half-size views on the host, frame by frame and then sent to the device, against all at once on the device.

    Args:
        crops: ``(M, 3, H, W)`` uint8 on the host.
        size: side of the views.
        device: where the tokenizer is.
    """
    images = [np.ascontiguousarray(crop.permute(1, 2, 0).numpy()) for crop in crops]
    sent = crops.to(device)

    def to_device(resized: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(resized)).to(device).permute(0, 3, 1, 2).float() / 255

    def opencv() -> Tensor:
        return to_device([cv2.resize(image, (size, size), interpolation=cv2.INTER_LANCZOS4) for image in images])

    def pillow() -> Tensor:
        return to_device([np.asarray(Image.fromarray(i).resize((size, size), Image.Resampling.LANCZOS)) for i in images])

    on_host = Way('OpenCV INTER_LANCZOS4 on the host', opencv, len(crops)), Way('Pillow LANCZOS on the host', pillow, len(crops))
    return [way for host, method in zip(on_host, FILTERS) for way in (
        host, Way(f'{method!r} on the device', lambda m=method: resize_pixels(sent, (size, size), m), len(crops), host))]


# -------------------------------------------------------------------------------------------------------------- pictures

def random_crops(num: int, size: int) -> Tensor:
    """``(num, 3, size, size)`` uint8: blots of many sizes, seeded."""
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(num, 3, size, size)
    for cells in (4, 8, 16, 32):
        noise = torch.randn(num, 3, cells, cells, generator=generator)
        total += torch.nn.functional.interpolate(noise, (size, size), mode='bicubic') * 4 / cells ** 0.5
    return (total.sigmoid() * 255).byte()


def crops_of(source: str, num: int, size: int) -> Tensor:
    """``(num, 3, size, size)`` uint8: random frames of videos, cropped at the centre, seeded."""
    init_default_scope('mmaction')
    videos = VideoList(source, seed=0, pipeline=[
        dict(type='ssvideo.SampleClips', clip_len=1), dict(type='ssvideo.DecodeClips'), dict(type='Resize', scale=(-1, size)),
        dict(type='CenterCrop', crop_size=size), dict(type='FormatShape', input_format='NCTHW'), dict(type='PackActionInputs')])
    return torch.cat([videos[i % len(videos), i]['inputs'][:, :, 0] for i in range(num)])


# --------------------------------------------------------------------------------------------------------------- tables

def rows_of(ways: list[Way]) -> list[tuple[str, ...]]:
    """As many texts as there are ``COLUMNS``, for each way."""
    rows = []
    for way in ways:
        ratio = statistics.median(mine / own for mine, own in zip(ways[0].seconds, way.seconds))
        rows.append((way.name, f'{way.frames / statistics.median(way.seconds):.3g}', f'{ratio:.2f}x',
                     '' if way.like is None else f'{way.agreement:.3%}',
                     f'{way.peak_bytes / 2 ** 30:.2f} GiB' if way.peak_bytes else ''))
    return rows


def shown(title: str, rows: list[tuple[str, ...]]) -> tuple[Table, str]:
    """A table for the terminal, and the same in markdown; columns that are empty throughout are left out."""
    kept = [i for i in range(len(COLUMNS)) if any(row[i] for row in rows)]
    table = Table(*(COLUMNS[i] for i in kept), title=title)
    lines = ['| ' + ' | '.join(COLUMNS[i] for i in kept) + ' |', '|' + ' --- |' * len(kept)]
    for row in rows:
        table.add_row(*(row[i] for i in kept))
        lines.append('| ' + ' | '.join(row[i] for i in kept) + ' |')
    return table, f'{title}\n\n' + '\n'.join(lines) + '\n'


def main(argv: list[str] | None = None) -> None:
    """Measure, print, and write."""
    args = parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
        cv2.setNumThreads(args.threads)
    device, side = torch.device(args.device), 2 * args.size
    try:
        crops = crops_of(args.videos, args.batch, side) if args.videos else random_crops(args.batch, side)
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = args.checkpoint or random_tokenizer(Path(folder) / 'random.safetensors')
            with torch.inference_mode():
                views = resize_pixels(crops.to(device), (args.size, args.size))
            encoding = encoding_ways(checkpoint, views.clone())
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
    viewing = view_ways(crops, args.size, device)
    for ways in (encoding, viewing):
        measure(ways, args.repeats, device)
    weights = args.checkpoint or 'random weights (seed 0) of the published size, 53.79 M'
    pictures = f'frames of {args.videos}' if args.videos else 'random pictures'
    where = torch.cuda.get_device_name(device) if device.type == 'cuda' else f'CPU, {torch.get_num_threads()} threads'
    tables = [shown(f'DALL-E encoder: {weights}; {args.batch} {pictures}, {args.size} px; {where}; {args.repeats} rounds',
                    rows_of(encoding)),
              shown(f'View of {args.size} px from crops of {side} px; {args.batch} frames; {where}; {args.repeats} rounds',
                    rows_of(viewing))]
    for table, _ in tables:
        Console().print(table)
    if args.markdown:
        write_whole(args.markdown, '\n'.join(text for _, text in tables))
        print(f'The tables are in {args.markdown}')


def random_tokenizer(path: Path) -> Path:
    """Write a tokenizer of the published size with random weights, seeded."""
    torch.manual_seed(0)
    save_dalle(path, DalleEncoder(**PUBLISHED))
    return path


if __name__ == '__main__':
    main()
